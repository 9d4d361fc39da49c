"""What the end-to-end tests see: an Airflow with a run of every job, and the hosts that they run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.programs.ledger import Ledger
from tests.services.airflow import Airflow
from tests.services.airflow_api import AirflowApi
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.processes import processes_of
from tests.services.sshd import OpenSSH

TOKEN = "tk-" + "f4ce" * 5
HIDDEN = "hd-" + "b01d" * 5


@dataclass(frozen=True)
class Fleet:
    """The Airflow, the folders on the hosts that its jobs live in, and the SSH server that leads to the second one."""

    airflow: Airflow
    root: Path
    site: OpenSSH | EmbeddedSSH
    ledgers: Path

    @property
    def api(self) -> AirflowApi:
        return self.airflow.api

    def run_id(self, job: str) -> str:
        return f"first_{job}"

    def begin(self, job: str, **more: Any) -> None:
        """The job has its run."""
        self.api.trigger(job, run_id=self.run_id(job), **more)

    def ended(self, job: str, *, timeout: float = 1500) -> tuple[str, dict[str, str | None]]:
        """The job's run has ended: its state, and its tasks'."""
        state = self.api.wait_for_run(job, self.run_id(job), timeout=timeout)
        return state, self.api.states(job, self.run_id(job))

    def watching(self, job: str, *, timeout: float = 1500) -> int:
        """The job is being watched by the triggerer: the pid of its program."""
        self.in_state(job, "deferred", timeout=timeout)
        return self.started(job)

    def in_state(self, job: str, *states: str, task_id: str = "watch_programs", timeout: float = 1500) -> None:
        """The job's watch, or another task of its, is in one of the states."""
        self.api.wait_for_task(job, self.run_id(job), task_id, set(states), timeout=timeout)

    def started(self, job: str) -> int:
        """The pid of the job's program, when it was started."""
        started = self.api.xcoms(job, self.run_id(job), "start_programs")["return_value"]
        return int(started[0]["pid"])

    def task(self, job: str, task_id: str = "watch_programs") -> dict[str, Any]:
        return self.api.tasks(job, self.run_id(job))[task_id]

    def log(self, job: str, task_id: str = "watch_programs", *, try_number: int = 1) -> str:
        return "\n".join(self.api.log_lines(job, self.run_id(job), task_id, try_number=try_number))

    def watched(self, job: str) -> dict[str, Any]:
        return self.api.xcoms(job, self.run_id(job), "watch_programs")

    def ledger(self, job: str) -> Ledger:
        """What a witnessed job says of itself."""
        return Ledger(self.ledgers / f"{job}.jsonl")

    def runs_alone(self, job: str) -> int:
        """The witnessed job was started once, and lives with its two children; the pid of its program is returned."""
        ledger = self.ledger(job)
        alive = ledger.wait_for(lambda seen: len(seen.alive()) == 3 and seen.alive())
        assert len(ledger.starts(role="main")) == 1, ledger.describe()
        return next(entry.pid for entry in alive if entry.role == "main")

    def is_gone(self, job: str, *, deadline: float = 60) -> None:
        """Nothing of the witnessed job lives; it had been started, once."""
        ledger = self.ledger(job)
        ledger.wait_for(lambda seen: not seen.alive(), deadline=deadline)
        assert len(ledger.starts(role="main")) == 1, ledger.describe()

    def runners(self, job: str) -> dict[int, str]:
        """What runs on the host for the job beside its own processes."""
        return {pid: command for pid, command in processes_of(self.root).items() if f" {job} " in f"{command} "}


def is_alive(pid: int) -> bool:
    """Whether the process runs, and is not just a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
