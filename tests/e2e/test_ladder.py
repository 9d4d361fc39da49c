"""How often a job is started again, what outlives a run, and what tasks of one's own do to a run's state."""

from __future__ import annotations

import pytest

from tests.e2e.fleet import Fleet, is_alive
from tests.services.airflow_api import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]

SETUPS = dict.fromkeys(["configure_supervisord", "start_supervisord", "start_programs"], "success")
TEARDOWNS = dict.fromkeys(["stop_programs", "stop_supervisord", "remove_configuration"], "success")
BEGUN = ("climbs", "last_try", "outlives", "hooked_badly", "hooked_well", "begins_badly")


@pytest.fixture(scope="module")
def ladder(fleet: Fleet) -> Fleet:
    """All jobs of this module have begun."""
    fleet.airflow.wait_for_dags([*BEGUN, "by_asset"])
    for job in BEGUN:
        fleet.begin(job)
    (asset,) = fleet.api.call("GET", "assets", params={"name_pattern": "e2e_ladder"})["assets"]
    fleet.api.call("POST", "assets/events", json={"asset_id": asset["id"]})
    return fleet


def states(watch: str, restart: str, **others: str) -> dict[str, str]:
    return {**SETUPS, "watch_programs": watch, "restart_programs": restart, **TEARDOWNS, **others}


@pytest.mark.promise("G8", "runner, retries and next runs, each to its limit")
def test_every_rung_is_climbed_exactly_as_often_as_it_says(ladder: Fleet) -> None:
    assert ladder.ended("climbs") == ("failed", states("failed", "success"))
    following = "first_climbs__restart_1"
    assert ladder.api.wait_for_run("climbs", following, timeout=240) == "failed"
    assert ladder.api.states("climbs", following) == states("failed", "skipped")
    tries = {run_id: ladder.api.tasks("climbs", run_id)["watch_programs"]["try_number"] for run_id in runs(ladder)}
    assert tries == {"first_climbs": 2, following: 2}
    # Two runs, two tries in each, and one restart in place after each try's start.
    assert len(ladder.ledger("climbs").starts()) == 8, ladder.ledger("climbs").describe()


@pytest.mark.promise("G8", "restart_programs is cleared")
def test_whoever_asks_again_for_the_next_run_gets_no_second_one(ladder: Fleet) -> None:
    ladder.ended("climbs")
    ladder.api.wait_for_run("climbs", "first_climbs__restart_1", timeout=240)
    assert ladder.task("climbs", "restart_programs")["try_number"] == 2
    ladder.api.clear("climbs", "first_climbs", "restart_programs")
    # It is not the following run that goes on with the job now: that one is over.
    ladder.in_state("climbs", "skipped", task_id="restart_programs")
    assert ladder.ended("climbs")[0] == "failed"
    assert runs(ladder) == ["first_climbs", "first_climbs__restart_1"]
    assert len(ladder.ledger("climbs").starts()) == 8


def test_the_last_try_is_watched_to_its_end(ladder: Fleet) -> None:
    assert ladder.ended("last_try") == ("failed", states("failed", "success"))
    following = "first_last_try__restart_1"
    assert ladder.api.wait_for_run("last_try", following, timeout=240) == "success"
    assert ladder.api.states("last_try", following) == states("success", "skipped")
    assert ladder.api.xcoms("last_try", following, "watch_programs")["verdict"] == "finished"
    ledger = ladder.ledger("last_try")
    assert ([entry.exit_code for entry in ledger.exits()], ledger.signals()) == ([0], [])


def test_what_outlives_its_run_is_watched_by_the_next(ladder: Fleet) -> None:
    assert ladder.ended("outlives") == ("success", states("success", "skipped"))
    assert ladder.watched("outlives")["verdict"] == "expired"
    pid = ladder.started("outlives")
    assert is_alive(pid)

    ladder.api.trigger("outlives", run_id="second", conf={"force-run": True})
    ladder.api.wait_for_task("outlives", "second", "watch_programs", {"deferred"}, timeout=240)
    started = ladder.api.xcoms("outlives", "second", "start_programs")["return_value"]
    assert [(one["action"], one["pid"]) for one in started] == [("adopted", pid)]
    (ladder.ledgers / "outlives.go").touch()
    assert ladder.api.wait_for_run("outlives", "second", timeout=240) == "failed"
    record = ladder.api.xcoms("outlives", "second", "watch_programs")["return_value"]["outlives"]
    assert (record["exit_code"], record["generation"]) == (7, 1)
    assert "[outlives] told" in "\n".join(ladder.api.log_lines("outlives", "second", "watch_programs"))
    # Nothing of it runs any more, so nothing is left for a next run.
    assert not (ladder.root / "jobs/outlives/job.json").exists()
    assert (ladder.root / "jobs/outlives/outlives/stdout.log").exists()


def test_a_wrong_param_is_named_before_the_host_is_touched(ladder: Fleet) -> None:
    ladder.api.trigger("by_asset", run_id="forced", conf={"force-endtime": "25:00"})
    assert ladder.api.wait_for_run("by_asset", "forced", timeout=240) == "failed"
    log = str(ladder.api.call("GET", "dags/by_asset/dagRuns/forced/taskInstances/configure_supervisord/logs/1"))
    assert "here/by_asset: param force-endtime: '25:00' is not a time of day. Write HH:MM or HH:MM:SS" in log
    assert ladder.api.tasks("by_asset", "forced")["configure_supervisord"]["try_number"] == 1


def test_own_tasks_do_not_hide_a_failure(ladder: Fleet) -> None:
    verdict = {"watch_verdict": "upstream_failed"}
    mine = dict.fromkeys(["before", "after", "instead"], "success")
    assert ladder.ended("hooked_badly") == ("failed", states("failed", "skipped", **verdict, **mine))
    assert ladder.api.xcoms("hooked_badly", "first_hooked_badly", "instead")["return_value"] == "failed"


def test_own_tasks_do_not_hide_a_success(ladder: Fleet) -> None:
    others = {"watch_verdict": "success", "before": "success", "after": "success", "instead": "skipped"}
    assert ladder.ended("hooked_well") == ("success", states("success", "skipped", **others))


def test_where_an_own_task_before_it_fails_nothing_is_set_up(ladder: Fleet) -> None:
    state, seen = ladder.ended("begins_badly")
    assert state == "failed"
    assert seen["before"] == "failed"
    assert set(seen.values()) == {"failed", "upstream_failed"}
    assert not (ladder.root / "jobs/begins_badly").exists()


def test_a_run_of_an_asset_needs_no_date_and_cleans_up(ladder: Fleet) -> None:
    found = wait_until(
        lambda: [run for run in ladder.api.runs("by_asset") if run["run_type"] == "asset_triggered"], bool, timeout=240
    )
    assert ladder.api.wait_for_run("by_asset", found[0]["dag_run_id"], timeout=240) == "success"
    assert found[0]["logical_date"] is None
    assert not (ladder.root / "jobs/by_asset").exists()


def runs(ladder: Fleet) -> list[str]:
    return [run["dag_run_id"] for run in ladder.api.runs("climbs")]
