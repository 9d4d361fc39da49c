"""What the steps of one run after another leave on a host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.programs import BEGAN_KEY, TAKEN_OVER_KEY, job_processes
from airflow_supervisor_jobs.triggers.pin import Pin
from tests.services.airflow_api import wait_until
from tests.services.steps import MOMENT, Run

Runs = Callable[..., Run]
LONG = {"command": "sleep 611"}


@pytest.fixture
def run_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Return what makes runs of one job, all on the same host."""
    monkeypatch.setenv("AIRFLOW__SUPERVISOR_JOBS__DEPLOYMENT", "tests")
    return partial(Run, root=root)


def pin_of(run: Run) -> Pin:
    return Pin.from_dict(run.xcoms["configure_supervisord", "return_value"])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.fixture
def ends_at_once(tmp_path: Path) -> dict[str, Any]:
    """Return a job that ends well, and writes to a file of its user's own and to a log that the user has placed."""
    command = f"echo said; echo mine > {tmp_path}/result; sleep 0"
    return {"command": command, "shell": True, "stdout_logfile": str(tmp_path / "placed.log")}


def ended(run: Run) -> None:
    wait_until(lambda: all(one["phase"] == "ended" for one in job_processes(pin_of(run))), bool, timeout=30)


@pytest.mark.parametrize(
    ("options", "retriggered", "anew"),
    [
        ({}, False, False),
        ({}, True, False),
        ({"restart_on_initial": True}, False, True),
        ({"restart_on_initial": True}, True, False),
        ({"restart_on_retrigger": True}, False, False),
        ({"restart_on_retrigger": True}, True, True),
        ({"if_running": "restart"}, True, True),
    ],
)
def test_a_run_adopts_or_starts_anew(run_of: Runs, options: dict[str, Any], retriggered: bool, anew: bool) -> None:
    job = {**LONG, "stop_on_exit": False, **options}
    first = run_of("first", **LONG).set_up()
    second = run_of("second", retriggered=retriggered, **job)
    process = second.set_up()
    assert (process["action"], process["pid"] == first["pid"]) == ("started" if anew else "adopted", not anew)
    assert is_alive(first["pid"]) is not anew
    # A clear, or another try: what the run has started itself is never started anew.
    again = second.set_up()
    assert (again["action"], again["pid"]) == ("adopted", process["pid"])


def test_runtime_counts_from_the_take_over(run_of: Runs) -> None:
    first = run_of("first", **LONG)
    started = first.set_up()["started_at"]
    assert first.xcoms["start_programs", BEGAN_KEY] == started
    second = run_of("second", **LONG)
    second.set_up()
    taken = second.xcoms["start_programs", BEGAN_KEY]
    assert taken > started
    assert taken == second.stores["start_programs"][TAKEN_OVER_KEY]["at"]
    second.set_up()
    assert second.xcoms["start_programs", BEGAN_KEY] == taken


def test_a_run_that_a_failure_triggered_counts_on(run_of: Runs) -> None:
    following = run_of("second", retriggered=True, endtime="06:00", **LONG)
    following.dag_run.conf["supervisor_jobs"].update(started_at=5.0, reference_date="2026-01-04T22:00:00+00:00")
    following.step("configure_supervisord")
    policy = pin_of(following).watch_policy
    assert policy.started_at == 5.0
    assert policy.endtime == MOMENT.replace(hour=6).timestamp()


def test_what_may_outlive_its_run_stays_with_all_it_needs(run_of: Runs, root: Path) -> None:
    first = run_of("first", stop_on_exit=False, **LONG)
    pid = first.set_up()["pid"]
    first.watch_says("expired")
    first.tear_down()
    assert is_alive(pid)
    assert (root / "jobs/feed/job.json").exists()
    assert (root / "supervisord.pid").exists()


def test_what_may_outlive_its_run_is_ended_when_somebody_ends_the_watch(run_of: Runs, root: Path) -> None:
    first = run_of("first", stop_on_exit=False, **LONG)
    pid = first.set_up()["pid"]
    first.tear_down()
    assert not is_alive(pid)
    assert not (root / "jobs/feed/job.json").exists()


def test_what_failed_to_start_by_this_run_is_left_to_the_next(run_of: Runs) -> None:
    first = run_of("first", stop_on_exit=False, **LONG)
    pid = first.set_up()["pid"]
    # The answer was lost for good.
    del first.xcoms["start_programs", "return_value"]
    first.tear_down()
    assert is_alive(pid)


def test_an_end_between_two_runs_is_told_by_the_second(
    run_of: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"while test ! -e {tmp_path}/go; do sleep 0.05; done; exit 9"
    job = {"command": command, "shell": True, "stop_on_exit": False}
    first = run_of("first", **job)
    first.set_up()
    first.watch_says("expired")
    first.tear_down()
    (tmp_path / "go").touch()
    ended(first)

    second = run_of("second", **{**job, **LONG, "shell": False})
    process = second.set_up()
    assert (process["action"], process["generation"]) == ("started", 2)
    assert "feed: before, generation 1 ended with exit code 9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cleanup", "verdict", "stays"),
    [
        ("never", "finished", True),
        ("on_success", "finished", False),
        ("on_success", "failed", True),
        ("on_success", None, True),
        ("always", "failed", False),
    ],
)
def test_cleanup_takes_only_what_is_ours(
    run_of: Runs, root: Path, tmp_path: Path, ends_at_once: dict[str, Any], cleanup: str, verdict: str, stays: bool
) -> None:
    run = run_of("first", cleanup=cleanup, **ends_at_once)
    run.set_up()
    ended(run)
    run.watch_says(verdict)
    run.tear_down()
    assert (root / "jobs/feed").exists() is stays
    assert (root / "jobs/feed/feed/exit/1.json").exists() is stays
    assert not (root / "jobs/feed/job.json").exists()
    assert (tmp_path / "result").read_text() == "mine\n"
    assert (tmp_path / "placed.log").read_text() == "said\n"


def test_a_wrong_param_leaves_the_host_alone(run_of: Runs, root: Path) -> None:
    run = run_of("first", params={"force-endtime": "25:00"}, **LONG)
    with pytest.raises(ConfigError, match=r"here/feed: param force-endtime: '25:00' is not a time of day"):
        run.step("configure_supervisord")
    assert not root.exists()


def test_params_go_before_the_job(run_of: Runs) -> None:
    run = run_of("first", runtime=5, params={"force-runtime": "1h", "force-maxretrigger": 4}, **LONG)
    run.step("configure_supervisord")
    assert (pin_of(run).watch_policy.runtime, pin_of(run).maxretrigger) == (3600, 4)


def test_a_night_is_long(run_of: Runs) -> None:
    run = run_of("first", endtime="06:00", **LONG)
    run.step("configure_supervisord")
    assert pin_of(run).watch_policy.endtime == MOMENT.replace(day=6, hour=6).timestamp()


def test_a_template_of_a_date_that_is_not_there_says_so(run_of: Runs, root: Path) -> None:
    run = run_of("first", command="feed {{ ds }}")
    with pytest.raises(ConfigError, match=r"here/feed: Jinja: 'ds' is undefined. This run has no logical date"):
        run.step("configure_supervisord")
    assert not root.exists()
