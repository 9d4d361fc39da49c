"""What the end of a worker's process means for the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.operators import ending
from airflow_supervisor_jobs.operators.ending import Ending
from airflow_supervisor_jobs.operators.programs import job_processes
from airflow_supervisor_jobs.triggers.pin import Pin
from tests.services.steps import Run

TASK = {"dag_id": "feed", "run_id": "r", "task_id": "watch_programs", "map_index": -1}


class Lines(list[str]):
    """A logger."""

    def info(self, message: str, /, *arguments: Any) -> None:
        self.append(message % arguments)

    warning = info


@pytest.mark.parametrize(
    ("said", "says", "phase"),
    [
        (True, "have been stopped", "ended"),
        (False, "not over for Airflow", "running"),
        (ConnectionError("no API server"), "not stopped now: no API server", "running"),
    ],
)
def test_only_what_airflow_confirms_ends_the_job(
    root: Path, monkeypatch: pytest.MonkeyPatch, said: Any, says: str, phase: str
) -> None:
    monkeypatch.setenv("AIRFLOW__SUPERVISOR_JOBS__DEPLOYMENT", "tests")

    def was_killed_here(task: Any, **_: Any) -> bool:
        assert task == TASK
        if isinstance(said, Exception):
            raise said
        return bool(said)

    monkeypatch.setattr(ending, "was_killed_here", was_killed_here)
    run, log = Run("r", root=root, command="sleep 612"), Lines()
    run.set_up()
    pin = Pin.from_dict(run.xcoms["configure_supervisord", "return_value"])
    thread = Ending(lambda: pin, TASK, log)
    thread.start()
    thread.join()
    assert says in log[-1]
    assert [one["phase"] for one in job_processes(pin)] == [phase]
