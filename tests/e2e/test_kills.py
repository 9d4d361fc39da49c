"""Each way to end a job in Airflow, and what does not end it: true on the host, by the program's own ledger."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.test_states import TEARDOWNS, states
from tests.services.airflow_api import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]


@pytest.mark.promise("G9", "run marked successful")
def test_marking_the_run_successful_ends_the_program(fleet: Fleet) -> None:
    fleet.watching("run_marked_success")
    fleet.runs_alone("run_marked_success")
    fleet.api.mark_run("run_marked_success", fleet.run_id("run_marked_success"), "success")
    fleet.is_gone("run_marked_success")
    assert fleet.ended("run_marked_success") == ("success", states("success", "skipped"))


@pytest.mark.promise("G9", "execution_timeout of the watch")
def test_the_timeout_of_the_task_ends_a_deferred_watch_and_the_program(fleet: Fleet) -> None:
    assert fleet.ended("task_times_out") == ("failed", states("failed", "skipped"))
    assert fleet.watched("task_times_out")["verdict"] == "timed_out"
    fleet.is_gone("task_times_out")


@pytest.mark.promise("G6", "the DAG is paused while the program ends")
def test_the_watch_of_a_paused_dag_goes_on_and_what_it_saw_is_told_later(fleet: Fleet) -> None:
    fleet.watching("paused")
    program = fleet.runs_alone("paused")
    fleet.api.pause("paused")
    os.kill(program, signal.SIGTERM)
    # The trigger has fired: the task waits for its turn.
    fleet.in_state("paused", "scheduled")
    fleet.is_gone("paused")
    fleet.api.pause("paused", paused=False)
    assert fleet.ended("paused") == ("failed", states("failed", "skipped"))
    assert fleet.watched("paused")["return_value"]["witness"]["exit_code"] == 7


@pytest.mark.promise("G9", "watch marked failed, poking")
def test_marking_a_watch_failed_that_pokes_ends_the_program_by_its_own_worker(fleet: Fleet) -> None:
    job = "poked_marked_failed"
    fleet.in_state(job, "running")
    fleet.runs_alone(job)
    fleet.api.mark_task(job, fleet.run_id(job), "watch_programs", "failed")
    fleet.is_gone(job)
    assert fleet.ended(job) == ("failed", states("failed", "skipped"))


@pytest.mark.promise("G9", "watch marked failed, between two looks")
def test_marking_a_watch_failed_between_two_looks_ends_the_program(fleet: Fleet) -> None:
    job = "rescheduled_marked_failed"
    fleet.in_state(job, "up_for_reschedule")
    fleet.runs_alone(job)
    fleet.api.mark_task(job, fleet.run_id(job), "watch_programs", "failed")
    fleet.is_gone(job)
    assert fleet.ended(job) == ("failed", states("failed", "skipped"))


@pytest.mark.promise("G6", "TERM to the worker of a watch that pokes")
def test_a_worker_that_is_shut_down_hands_its_watch_to_another(fleet: Fleet) -> None:
    job = "poked_handed_over"
    fleet.in_state(job, "running")
    program = fleet.runs_alone(job)
    first = worker_of(fleet, job)
    os.kill(first, signal.SIGTERM)
    assert worker_of(fleet, job, but=first) != first
    assert fleet.runs_alone(job) == program
    assert "The task is not over for Airflow" in fleet.log(job)
    os.kill(program, signal.SIGTERM)
    assert fleet.ended(job) == ("failed", states("failed", "skipped"))
    assert fleet.watched(job)["return_value"]["witness"]["exit_code"] == 7


@pytest.mark.promise("G9", "dagrun_timeout, poking")
def test_dagrun_timeout_ends_the_program_of_a_watch_that_pokes(fleet: Fleet) -> None:
    state, seen = fleet.ended("poked_times_out")
    assert (state, seen["watch_programs"], seen["stop_programs"]) == ("failed", "skipped", "skipped")
    fleet.is_gone("poked_times_out")


@pytest.mark.promise("G9", "dagrun_timeout, between two looks: by the lease")
def test_dagrun_timeout_between_two_looks_leaves_the_program_to_its_lease(fleet: Fleet) -> None:
    state, seen = fleet.ended("rescheduled_times_out")
    assert (state, seen["watch_programs"], seen["stop_programs"]) == ("failed", "skipped", "skipped")
    fleet.is_gone("rescheduled_times_out", deadline=120)


@pytest.mark.promise("G1", "the worker of each task killed with -9 after its work")
def test_workers_killed_after_their_work_make_no_second_copy_and_no_orphan(fleet: Fleet) -> None:
    job = "every_task_killed"
    assert fleet.ended(job) == ("success", states("success", "skipped"))
    assert {task["try_number"] for task in fleet.api.tasks(job, fleet.run_id(job)).values()} == {2}
    fleet.is_gone(job)
    assert [entry.exit_code for entry in fleet.ledger(job).exits(role="main")] == [0]
    assert fleet.runners(job) == {}


@pytest.mark.promise("G18", "each task fails in turn")
@pytest.mark.parametrize(
    ("job", "failed", "starts"),
    [
        ("fails_start_supervisord", {"start_supervisord"}, 0),
        ("fails_watch_programs", {"watch_programs"}, 1),
        # The run has failed although its programs ended well: whether they are gone is not certain.
        ("fails_teardowns", {"restart_programs", *TEARDOWNS}, 1),
    ],
)
def test_a_task_that_fails_leaves_no_orphan(fleet: Fleet, job: str, failed: set[str], starts: int) -> None:
    state, seen = fleet.ended(job)
    assert (state, {name for name, ended in seen.items() if ended == "failed"}) == ("failed", failed)
    assert fleet.ledger(job).alive() == []
    assert len(fleet.ledger(job).starts(role="main")) == starts
    assert fleet.runners(job) == {}


def test_a_job_that_could_not_be_configured_is_not_started(fleet: Fleet) -> None:
    state, seen = fleet.ended("fails_configure_supervisord")
    assert (state, set(seen.values())) == ("failed", {"failed", "upstream_failed"})
    assert fleet.ledger("fails_configure_supervisord").starts() == []


def worker_of(fleet: Fleet, job: str, *, but: int | None = None) -> int:
    """The pid of the process that executes the job's watch, when it is another than ``but``."""

    def find() -> list[int]:
        # Its title has overwritten its environment.
        title = f"airflow worker -- {fleet.task(job)['id']}"
        found = {int(entry): command_of(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        return [pid for pid, command in found.items() if command == title and pid != but]

    return int(wait_until(find, bool, timeout=120)[0])


def command_of(pid: int | str) -> str:
    """The command line of a process, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
