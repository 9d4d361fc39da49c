"""What a further try of the watch does: after the job failed, after a worker was lost, after a clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_supervisor_jobs.sensors.programs import SPARE_TRIES
from airflow_supervisor_jobs.triggers.pin import Pin
from tests.services.airflow_api import wait_until
from tests.services.steps import Run


@pytest.fixture
def run_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Return what makes the run of a job that was set up."""
    monkeypatch.setenv("AIRFLOW__SUPERVISOR_JOBS__DEPLOYMENT", "tests")

    def set_up(**job: Any) -> Run:
        run = Run("r", root=root, shell=True, watch="poke", **job)
        run.set_up()
        return run

    return set_up


def try_to_watch(run: Run, *, max_tries: int = SPARE_TRIES) -> dict[str, Any]:
    """Return what the watch leaves of the program when it ends."""
    task: Any = run.dag.watch_programs
    context = run._context(task)
    context["ti"].max_tries, context["ti"].try_number = max_tries, 1
    task._start_anew(pin_of(run), context)
    done = wait_until(lambda: task.poke(context), bool, timeout=30)
    return dict(done.xcom_value["feed"])


def pin_of(run: Run) -> Pin:
    return Pin.from_dict(run.xcoms["configure_supervisord", "return_value"])


def left(run: Run) -> dict[str, Any]:
    return dict(run.xcoms["watch_programs", "return_value"]["feed"])


def test_a_job_that_fails_is_started_anew_as_often_as_retries_say(run_of: Callable[..., Run]) -> None:
    run = run_of(command="exit 3", retries=1)
    assert run.dag.watch_programs.retries == 1 + SPARE_TRIES
    with pytest.raises(AirflowException) as first:
        try_to_watch(run)
    assert not isinstance(first.value, AirflowFailException)
    assert left(run)["generation"] == 1
    with pytest.raises(AirflowFailException):
        try_to_watch(run)
    assert left(run)["generation"] == 2


def test_a_try_that_was_lost_while_it_ended_comes_to_the_same_end(run_of: Callable[..., Run]) -> None:
    run = run_of(command="exit 0")
    assert try_to_watch(run)["generation"] == 1
    assert try_to_watch(run)["generation"] == 1
    # A clear gives the task more tries: the job runs once more.
    assert try_to_watch(run, max_tries=1 + SPARE_TRIES)["generation"] == 2


def test_a_failure_that_was_lost_while_it_was_told_counts_once(run_of: Callable[..., Run]) -> None:
    run = run_of(command="exit 3")
    for _ in range(2):
        with pytest.raises(AirflowFailException):
            try_to_watch(run)
        assert left(run)["generation"] == 1


def test_a_report_that_the_host_did_not_hear_costs_no_try_and_gives_none(
    run_of: Callable[..., Run], root: Path
) -> None:
    run = run_of(command="exit 3", retries=1)
    for generation in (1, 2):
        with pytest.raises(AirflowException):
            try_to_watch(run)
        assert left(run)["generation"] == generation
        (root / "jobs/feed/feed/cursor/airflow.json").unlink()
    # After a clear the start leaves the end to the watch, and the watch knows that it was told.
    assert run.set_up()["generation"] == 2
    with pytest.raises(AirflowException):
        try_to_watch(run, max_tries=1 + SPARE_TRIES)
    assert left(run)["generation"] == 3
