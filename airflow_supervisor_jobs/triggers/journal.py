"""What a watch leaves in Airflow: the programs' lines in the task's log, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_supervisor_jobs.core.status import EndReason, Phase, ProcessStatus
from airflow_supervisor_jobs.core.verdict import Judgement
from airflow_supervisor_jobs.hosts.watch import Changed, Concluded, Contact, Observation, Output

FORMAT = 1
_NOT_YET = frozenset({"STARTING", "RUNNING", "STOPPING"})


class Log(Protocol):
    """The part of a logger that is used."""

    def info(self, message: Any, /, *arguments: Any) -> Any:
        """Log what is as it should be."""

    def warning(self, message: Any, /, *arguments: Any) -> Any:
        """Log what is not."""


@dataclass
class Journal:
    """Takes the observations of one watch, in order.

    :param log: the task's own logger: Airflow routes lines by the context they are logged in.
    :param clock: the time in seconds since the epoch.
    :param unreachable_from: since when the host has been out of sight, if it is.
    :param refused_from: since when it has let nobody in, if it does not.
    """

    log: Log
    clock: Callable[[], float] = time.time
    unreachable_from: float | None = None
    refused_from: float | None = None
    judgement: Judgement | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    noticed: dict[str, float] = field(default_factory=dict)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def note(self, observation: Observation) -> None:
        """The observation is in the log, or in what :meth:`event` will say."""
        if isinstance(observation, Output):
            mark = observation.process if observation.stream == "stdout" else f"{observation.process}:stderr"
            (self.log.warning if observation.ours else self.log.info)("[%s] %s", mark, observation.text)
        elif isinstance(observation, Changed):
            self._note_status(observation.status)
        elif isinstance(observation, Contact):
            self._note_contact(observation)
        elif isinstance(observation, Concluded):
            for status in observation.statuses.values():
                self._note_status(status, quietly=True)
            self.judgement = observation.judgement

    def event(self) -> dict[str, Any]:
        """Return what resumes the task: the judgement, the exit records, when each end was noticed."""
        if self.judgement is None:
            raise ValueError("the watch has not concluded")
        return {"format": FORMAT, "judgement": self.judgement.to_dict(), "records": self.records}

    def _note_contact(self, contact: Contact) -> None:
        if contact.reachable:
            self.unreachable_from = self.refused_from = None
            self.log.info("The host is in sight")
        else:
            self.unreachable_from = self.unreachable_from or self.clock()
            self.refused_from = (self.refused_from or self.clock()) if contact.refused else None
            what = "lets nobody in" if contact.refused else "is out of sight"
            self.log.warning("The host %s, nothing follows about its programs: %s", what, contact.error)

    def _note_status(self, status: ProcessStatus, *, quietly: bool = False) -> None:
        record = essentials(status)
        known = self.records.get(status.process)
        ended = status.ended_at is not None
        if ended and (known is None or known["ended_at"] != status.ended_at):
            self.noticed[status.process] = self.clock()
        record["noticed_at"] = self.noticed.get(status.process) if ended else None
        record["watched_from"] = self.began
        self.records[status.process] = record
        if not quietly and (known is None or _shown(known) != _shown(record)):
            self.log.info("%s: %s", status.process, _words(record))


def essentials(status: ProcessStatus) -> dict[str, Any]:
    """Return what is worth an XCom of a process: JSON, small, no secret."""
    return {
        "state": refined_state(status),
        "pid": status.pid,
        "generation": status.generation,
        "exit_code": status.exit_code,
        "signal": status.signal,
        "started_at": status.started_at,
        "ended_at": status.ended_at,
        "restarts": status.restarts,
        "stdout": status.stdout,
        "stderr": status.stderr,
    }


def refined_state(status: ProcessStatus) -> str | None:
    """Return supervisord's word for the state; of an end it learns later than the exit record was written."""
    if status.has_ended and status.state in _NOT_YET:
        stopped = status.record is not None and status.record.reason in (EndReason.STOPPED, EndReason.TERMINATED)
        return "STOPPED" if stopped else "EXITED"
    # supervisord sees the runner alone, which lives while it waits to start the program again.
    return "BACKOFF" if status.phase is Phase.BACKOFF else status.state


def _shown(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record[key] for key in ("state", "pid", "generation", "exit_code", "signal"))


def _words(record: Mapping[str, Any]) -> str:
    words = [str(record["state"] or "supervisord does not answer")]
    for key, name in (("pid", "pid"), ("exit_code", "exit code"), ("signal", "signal")):
        if record[key] is not None:
            words.append(f"{name} {record[key]}")
    return f"{', '.join(words)} (generation {record['generation']})"
