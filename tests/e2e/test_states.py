"""What the steps of a run end as, on a real scheduler, for each way that a job can end."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.fleet import Fleet, is_alive
from tests.services.airflow_api import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]

SETUPS = dict.fromkeys(["configure_supervisord", "start_supervisord", "start_programs"], "success")
TEARDOWNS = dict.fromkeys(["stop_programs", "stop_supervisord", "remove_configuration"], "success")


def states(watch: str, restart: str) -> dict[str, str]:
    return {**SETUPS, "watch_programs": watch, "restart_programs": restart, **TEARDOWNS}


def test_a_job_that_ends_well(fleet: Fleet) -> None:
    assert fleet.ended("finishes") == ("success", states("success", "skipped"))
    log = fleet.log("finishes")
    assert "[finishes] this is first_finishes" in log
    assert "[finishes:stderr] oops" in log
    # Nothing of the worker's AIRFLOW__* reaches a program.
    assert "[finishes] 0" in log
    record = fleet.watched("finishes")["return_value"]["finishes"]
    assert (record["exit_code"], record["signal"], record["generation"]) == (0, None, 1)


def test_a_job_that_fails(fleet: Fleet) -> None:
    assert fleet.ended("fails") == ("failed", states("failed", "skipped"))
    log = fleet.log("fails")
    for part in ("here/fails:fails", "exited with 3", "the reason", str(fleet.root / "jobs/fails/fails/stderr.log")):
        assert part in log
    xcoms = fleet.watched("fails")
    assert xcoms["verdict"] == "failed"
    assert xcoms["return_value"]["fails"]["exit_code"] == 3


def test_a_job_that_fails_and_is_restarted(fleet: Fleet) -> None:
    assert fleet.ended("fails_twice") == ("failed", states("failed", "success"))
    following = "first_fails_twice__restart_1"
    assert fleet.api.wait_for_run("fails_twice", following, timeout=200) == "failed"
    assert fleet.api.states("fails_twice", following) == states("failed", "skipped")
    assert fleet.api.xcoms("fails_twice", following, "watch_programs")["return_value"]["fails_twice"]["generation"] == 2
    assert len(fleet.api.runs("fails_twice")) == 2


def test_a_retry_starts_a_new_generation(fleet: Fleet) -> None:
    assert fleet.ended("retried") == ("success", states("success", "skipped"))
    assert fleet.watched("retried")["return_value"]["retried"]["generation"] == 2


def test_a_job_that_skips(fleet: Fleet) -> None:
    assert fleet.ended("skips") == ("success", states("skipped", "skipped"))


def test_a_job_that_is_over_by_plan(fleet: Fleet) -> None:
    assert fleet.ended("expires") == ("success", states("success", "skipped"))
    stopped = fleet.api.xcoms("expires", fleet.run_id("expires"), "stop_programs")["return_value"]
    assert [process["action"] for process in stopped] == ["stopped"]


@pytest.mark.promise("G9", "watch marked failed")
def test_marking_the_watch_failed_ends_the_program(fleet: Fleet) -> None:
    pid = fleet.watching("marked_failed")
    assert is_alive(pid)
    fleet.api.mark_task("marked_failed", fleet.run_id("marked_failed"), "watch_programs", "failed")
    assert fleet.ended("marked_failed") == ("failed", states("failed", "skipped"))
    assert not is_alive(pid)


@pytest.mark.promise("G9", "run marked failed")
def test_marking_the_run_failed_ends_the_program(fleet: Fleet) -> None:
    pid = fleet.watching("run_failed")
    fleet.api.mark_run("run_failed", fleet.run_id("run_failed"), "failed")
    wait_until(lambda: is_alive(pid), lambda alive: not alive, timeout=60)
    assert fleet.ended("run_failed") == ("failed", states("failed", "skipped"))


@pytest.mark.promise("G1", "watch cleared: the same pid goes on")
def test_clearing_the_watch_adopts_the_program(fleet: Fleet) -> None:
    pid, run_id = fleet.watching("cleared"), fleet.run_id("cleared")
    fleet.api.clear("cleared", run_id, "watch_programs")
    wait_until(
        lambda: fleet.api.tasks("cleared", run_id)["watch_programs"],
        lambda task: task["try_number"] == 2 and task["state"] == "deferred",
        timeout=100,
    )
    started = fleet.api.xcoms("cleared", run_id, "start_programs")["return_value"]
    assert [(process["action"], process["pid"]) for process in started] == [("adopted", pid)]
    assert is_alive(pid)
    fleet.api.mark_task("cleared", run_id, "watch_programs", "success")
    assert fleet.ended("cleared") == ("success", states("success", "skipped"))
    assert not is_alive(pid)


@pytest.mark.promise("G9", "dagrun_timeout")
def test_dagrun_timeout_skips_the_teardowns_and_on_kill_ends_the_program(fleet: Fleet) -> None:
    pid = fleet.started("times_out")
    state, seen = fleet.ended("times_out")
    assert state == "failed"
    assert seen == {**SETUPS, **dict.fromkeys([*TEARDOWNS, "watch_programs", "restart_programs"], "skipped")}
    wait_until(lambda: is_alive(pid), lambda alive: not alive, timeout=60)


@pytest.mark.promise("G18", "start_programs fails after its effect")
def test_a_start_that_fails_after_its_effect_leaves_no_orphan(fleet: Fleet) -> None:
    state, seen = fleet.ended("start_loses_answer")
    ahead = dict.fromkeys(["watch_programs", "restart_programs"], "upstream_failed")
    assert (state, seen) == ("failed", {**SETUPS, "start_programs": "failed", **ahead, **TEARDOWNS})
    xcoms = fleet.api.xcoms("start_loses_answer", fleet.run_id("start_loses_answer"), "start_programs")
    assert not is_alive(xcoms["pid"])


def test_a_person_stops_the_job_on_the_host(fleet: Fleet) -> None:
    fleet.watching("stopped_by_hand")
    subprocess.run([fleet.root / "bin/supervisorctl", "stop", "stopped_by_hand:*"], check=True, capture_output=True)
    assert fleet.ended("stopped_by_hand") == ("failed", states("failed", "skipped"))
    xcoms = fleet.watched("stopped_by_hand")
    assert xcoms["verdict"] == "stopped"
    record = xcoms["return_value"]["stopped_by_hand"]
    assert 0 <= record["noticed_at"] - record["ended_at"] < 2


@pytest.mark.parametrize(
    ("job", "code", "watch", "run"), [("poked", 0, "success", "success"), ("rescheduled", 7, "failed", "failed")]
)
def test_a_watch_from_a_worker(fleet: Fleet, job: str, code: int, watch: str, run: str) -> None:
    assert fleet.ended(job) == (run, states(watch, "skipped"))
    log = fleet.log(job)
    assert log.count(f"[{job}] first") == 1
    assert log.count(f"[{job}] last") == 1
    assert fleet.watched(job)["return_value"][job]["exit_code"] == code
