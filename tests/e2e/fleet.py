"""What the end-to-end tests see: an Airflow with a run of every job, and the host that they run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.airflow import Airflow
from tests.services.airflow_api import AirflowApi

TOKEN = "tk-" + "f4ce" * 5
HIDDEN = "hd-" + "b01d" * 5


@dataclass(frozen=True)
class Fleet:
    """The Airflow, and the folder on the host that its jobs live in."""

    airflow: Airflow
    root: Path

    @property
    def api(self) -> AirflowApi:
        return self.airflow.api

    def run_id(self, job: str) -> str:
        return f"first_{job}"

    def ended(self, job: str, *, timeout: float = 240) -> tuple[str, dict[str, str | None]]:
        """The job's run has ended: its state, and its tasks'."""
        state = self.api.wait_for_run(job, self.run_id(job), timeout=timeout)
        return state, self.api.states(job, self.run_id(job))

    def watching(self, job: str, *, timeout: float = 240) -> int:
        """The job is being watched: the pid of its program."""
        self.api.wait_for_task(job, self.run_id(job), "watch_programs", {"deferred"}, timeout=timeout)
        return self.started(job)

    def started(self, job: str) -> int:
        """The pid of the job's program, when it was started."""
        started = self.api.xcoms(job, self.run_id(job), "start_programs")["return_value"]
        return int(started[0]["pid"])

    def log(self, job: str, task_id: str = "watch_programs", *, try_number: int = 1) -> str:
        return "\n".join(self.api.log_lines(job, self.run_id(job), task_id, try_number=try_number))

    def watched(self, job: str) -> dict[str, Any]:
        return self.api.xcoms(job, self.run_id(job), "watch_programs")


def is_alive(pid: int) -> bool:
    """Whether the process runs, and is not just a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
