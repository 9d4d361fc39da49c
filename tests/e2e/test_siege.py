"""Airflow's own daemons frozen and killed: no job ends by it, none runs twice, and no end is lost."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.fleet import Fleet, is_alive
from tests.e2e.test_kills import worker_of
from tests.e2e.test_states import states
from tests.services.airflow_api import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]

FROZEN, KILLED, DOWN = "siege_frozen", "siege_killed", "siege_down"
WORKER, DELETED = "siege_worker", "siege_deleted"


@pytest.fixture(scope="module")
def siege(fleet: Fleet) -> dict[str, int]:
    """The pids of the programs of five jobs that are watched."""
    deferred = (FROZEN, KILLED, DOWN, DELETED)
    for job in (*deferred, WORKER):
        fleet.begin(job)
    for job in deferred:
        fleet.watching(job)
    fleet.in_state(WORKER, "running")
    return {job: fleet.runs_alone(job) for job in (*deferred, WORKER)}


@pytest.mark.promise("G6", "the API server killed with -9 under a worker")
def test_a_worker_that_has_lost_its_api_server_ends_no_job(fleet: Fleet, siege: dict[str, int]) -> None:
    worker = worker_of(fleet, WORKER)
    fleet.airflow.kill("api-server")
    wait_until(lambda: is_alive(worker), lambda alive: not alive, timeout=120)
    assert fleet.runs_alone(WORKER) == siege[WORKER]
    fleet.airflow.start("api-server")
    fleet.airflow.wait_until_healthy()
    # Airflow takes it for a failed try, and the next one finds the program.
    wait_until(
        lambda: fleet.task(WORKER), lambda task: task["try_number"] == 2 and task["state"] == "running", timeout=120
    )
    assert fleet.runs_alone(WORKER) == siege[WORKER]
    os.kill(siege[WORKER], signal.SIGTERM)
    assert fleet.ended(WORKER) == ("failed", states("failed", "skipped"))
    assert fleet.watched(WORKER)["return_value"]["witness"]["exit_code"] == 7
    fleet.is_gone(WORKER)


@pytest.mark.promise("G9", "DAG deleted")
def test_deleting_the_dag_ends_the_program(fleet: Fleet, siege: dict[str, int]) -> None:
    assert fleet.runs_alone(DELETED) == siege[DELETED]
    fleet.api.delete_dag(DELETED)
    fleet.is_gone(DELETED)
    # A scheduler that has looked at the run in this moment has ended with an error.
    fleet.airflow.kill("scheduler")
    fleet.airflow.start("scheduler")
    fleet.airflow.wait_until_healthy()


@pytest.mark.promise("G6", "a triggerer frozen (SIGSTOP), its triggers taken over")
def test_a_triggerer_that_was_frozen_ends_no_job_of_another_one(fleet: Fleet, siege: dict[str, int]) -> None:
    before = triggerer_of(fleet, FROZEN)
    fleet.airflow.start("triggerer", label="second triggerer")
    fleet.airflow.signal("triggerer", signal.SIGSTOP)
    wait_until(lambda: triggerer_of(fleet, FROZEN), lambda now: now not in (None, before), timeout=90)
    fleet.airflow.signal("triggerer", signal.SIGCONT)
    wait_until(lambda: fleet.log(FROZEN), lambda log: "The task is not over for Airflow" in log, timeout=90)
    assert fleet.runs_alone(FROZEN) == siege[FROZEN]
    os.kill(siege[FROZEN], signal.SIGTERM)
    assert fleet.ended(FROZEN) == ("failed", states("failed", "skipped"))
    assert fleet.watched(FROZEN)["return_value"]["witness"]["exit_code"] == 7


@pytest.mark.promise("G6", "the triggerer killed with -9 while the program ends")
def test_a_killed_triggerer_loses_no_job(fleet: Fleet, siege: dict[str, int]) -> None:
    for name in ("triggerer", "second triggerer"):
        fleet.airflow.kill(name)
    before = triggerer_of(fleet, KILLED)
    os.kill(siege[KILLED], signal.SIGTERM)
    fleet.is_gone(KILLED)
    fleet.airflow.start("triggerer")
    wait_until(lambda: triggerer_of(fleet, DOWN), lambda now: now not in (None, before), timeout=90)
    assert fleet.ended(KILLED) == ("failed", states("failed", "skipped"))
    assert fleet.watched(KILLED)["return_value"]["witness"]["exit_code"] == 7


@pytest.mark.promise("G2", "all of Airflow killed with -9 while the program ends")
def test_the_end_signal_is_lost_because_all_of_airflow_is_down(fleet: Fleet, siege: dict[str, int]) -> None:
    names = ("scheduler", "triggerer", "api-server", "dag-processor")
    for name in names:
        fleet.airflow.kill(name)
    assert fleet.runs_alone(DOWN) == siege[DOWN]
    os.kill(siege[DOWN], signal.SIGTERM)
    fleet.is_gone(DOWN)
    for name in names:
        fleet.airflow.start(name)
    fleet.airflow.wait_until_healthy()
    assert fleet.ended(DOWN) == ("failed", states("failed", "skipped"))
    record = fleet.watched(DOWN)["return_value"]["witness"]
    assert (record["exit_code"], record["generation"]) == (7, 1)


def triggerer_of(fleet: Fleet, job: str) -> int | None:
    """The id of the triggerer that has the job's watch."""
    triggerer = fleet.task(job)["triggerer_job"]
    return None if triggerer is None else int(triggerer["id"])
