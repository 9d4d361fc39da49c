"""The stories that are told of jobs over SSH: each ends with the truth in Airflow."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.test_states import states

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]

GOES_ON, ENDS, STOPPED = "goes_on_out_of_sight", "ends_out_of_sight", "stopped_out_of_sight"


@pytest.fixture(scope="module")
def outage(fleet: Fleet) -> dict[str, int]:
    """A host went out of sight, much happened meanwhile, and it came back; the pids of the programs before it."""
    jobs = (GOES_ON, ENDS, STOPPED)
    for job in jobs:
        fleet.watching(job)
    pids = {job: fleet.runs_alone(job) for job in jobs}
    fleet.site.stop()
    fleet.api.mark_task(STOPPED, fleet.run_id(STOPPED), "watch_programs", "failed")
    os.kill(pids[ENDS], signal.SIGTERM)
    fleet.is_gone(ENDS)
    fleet.in_state(STOPPED, "deferred", task_id="stop_programs")
    assert fleet.runs_alone(STOPPED) == pids[STOPPED]
    assert fleet.task(ENDS)["state"] == "deferred"
    fleet.site.start()
    return pids


@pytest.mark.promise("G6", "the host is out of sight of all of Airflow, and comes back")
def test_the_connection_is_lost_while_the_process_goes_on(fleet: Fleet, outage: dict[str, int]) -> None:
    assert fleet.task(GOES_ON)["state"] == "deferred"
    assert fleet.runs_alone(GOES_ON) == outage[GOES_ON]
    os.kill(outage[GOES_ON], signal.SIGTERM)
    assert fleet.ended(GOES_ON) == ("failed", states("failed", "skipped"))
    assert fleet.watched(GOES_ON)["return_value"]["witness"]["exit_code"] == 7
    log = fleet.log(GOES_ON)
    assert log.index("The host is out of sight") < log.rindex("The host is in sight")
    fleet.is_gone(GOES_ON)


@pytest.mark.promise("G2", "it ends while its host is out of sight of all of Airflow")
def test_the_end_signal_is_lost_because_the_host_is_out_of_sight(fleet: Fleet, outage: dict[str, int]) -> None:
    assert fleet.ended(ENDS) == ("failed", states("failed", "skipped"))
    record = fleet.watched(ENDS)["return_value"]["witness"]
    assert (record["exit_code"], record["generation"]) == (7, 1)


@pytest.mark.promise("G9", "watch marked failed while the host is out of reach")
def test_a_stop_waits_until_the_host_is_back(fleet: Fleet, outage: dict[str, int]) -> None:
    fleet.is_gone(STOPPED, deadline=120)
    assert fleet.ended(STOPPED) == ("failed", states("failed", "skipped"))
    stopped = fleet.api.xcoms(STOPPED, fleet.run_id(STOPPED), "stop_programs")["return_value"]
    assert [process["action"] for process in stopped] == ["stopped"]


def test_an_external_task_sensor_on_the_watch_sees_how_it_ended(fleet: Fleet) -> None:
    state, seen = fleet.ended("onlooker")
    assert (state, seen) == ("failed", {"waits_for_ends_seen_well": "success", "waits_for_ends_seen_badly": "failed"})
    assert fleet.ended("ends_seen_well") == ("success", states("success", "skipped"))
    assert fleet.ended("ends_seen_badly") == ("failed", states("failed", "skipped"))


def test_an_asset_of_the_watch_is_there_when_the_job_ended_well(fleet: Fleet) -> None:
    fleet.ended("ends_seen_well")
    run = fleet.api.wait_for_any_run("fed_by_the_watch", timeout=60)
    assert run["run_type"] == "asset_triggered"
