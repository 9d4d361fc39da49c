"""Which jobs on a host nobody will ever end: those of runs that are over, or that their Airflow does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_supervisor_jobs.config import Host, Job
from airflow_supervisor_jobs.config.values import is_template
from airflow_supervisor_jobs.core.status import Phase, ProcessStatus
from airflow_supervisor_jobs.exceptions import ProtocolError

#: Seconds between the two looks at a job before it is called an orphan: a run that has just ended may be stopping it.
CONFIRM_S = 30.0
#: How often a host that is out of reach is asked again, and after how many seconds.
RETRIES = 3
RETRY_DELAY_S = 30.0

#: The tasks of a run that pin a job and wait for its end, and the states in which the latter waits.
CONFIGURE_TASK = "configure_supervisord"
WATCH_TASK = "watch_programs"
UNFINISHED = ("running", "deferred", "up_for_reschedule")

#: What only supervisord's own file on a host needs: two hosts that differ in it alone are one.
_ONLY_FOR_SETUP = {
    "unix_http_server",
    "inet_http_server",
    "rpc_interfaces",
    "include",
    "supervisorctl",
    "supervisord",
    "log_retention",
    "log_retention_size",
}

#: By what two hosts are one.
_PLACE = ("ssh_conn_id", "hostname", "port", "username", "root")

_Model = TypeVar("_Model", bound=BaseModel)

#: The phases of what runs, or will again by itself.
LIVE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.BACKOFF, Phase.STOPPING})


class RunState(str, Enum):
    """What Airflow says about a run."""

    ACTIVE = "active"
    """Queued or running: its own tasks see to its job."""
    OVER = "over"
    """Ended: nobody sees to its job any more."""
    UNKNOWN = "unknown"
    """There is no such run (any more)."""


@dataclass(frozen=True, order=True)
class Run:
    """A run of a DAG."""

    dag_id: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.dag_id}/{self.run_id}"


class HeldJob(BaseModel):
    """A job that is set up on a host, and whose it is: the *job status* of docs/reference/protocol.md."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: str
    owner: dict[str, str] | None = None
    #: Who has installed it last, and will own it when it has started it.
    installed_by: dict[str, str] | None = None
    #: Whether it was meant to outlive its run: ``stop_on_exit: false``.
    outlives: bool = False
    processes: tuple[ProcessStatus, ...] = ()

    @property
    def run(self) -> Run | None:
        """The run that it belongs to, or None: a person has started it."""
        return _run_of(self.owner)

    @property
    def heir(self) -> Run | None:
        """The run of the same Airflow that has installed it last, or None."""
        ours = self.owner and self.installed_by and self.owner["deployment"] == self.installed_by["deployment"]
        return _run_of(self.installed_by) if ours else None

    @property
    def live(self) -> tuple[ProcessStatus, ...]:
        """The processes of which something runs, or will again by itself."""
        return tuple(each for each in self.processes if each.phase in LIVE)


class Stray(BaseModel):
    """A process on a host that carries our mark, or holds a lock of ours, and that no living runner answers for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    job: str | None = None
    process: str | None = None
    generation: int | None = None
    command: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class WatchTask:
    """A task of a run that waits for a job's end, and what its run has pinned.

    :param pin: JSON with the ``job``, the ``owner``, the ``host`` and the ``machine`` of the run.
    """

    run: Run
    task_id: str
    pin: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """What is wrong where its job is not on the host, and the cure."""
        return f"the task {self.run}/{self.task_id} waits for it, and it is not there. Clear the task or mark it failed"

    def is_at(self, host: Host, *, machine: str) -> bool:
        """Return whether its job should be on ``host``, as seen from ``machine``."""
        pinned = Host.model_validate({key: self.pin["host"].get(key) for key in _PLACE if key in self.pin["host"]})
        same = all(getattr(pinned, key) == getattr(host, key) for key in _PLACE)
        return same and self.pin.get("machine") in (None, machine)


@dataclass(frozen=True)
class Orphan:
    """A job whose run is over, and why it is called so."""

    held: HeldJob
    run: Run
    state: RunState

    @property
    def reason(self) -> str:
        """Why nobody will end it, in words."""
        is_over = {RunState.OVER: "is over", RunState.UNKNOWN: "is not known to this Airflow"}
        return f"its run {self.run} {is_over[self.state]}"


def held_jobs(answer: Mapping[str, Any], *, host: str) -> list[HeldJob]:
    """Return the jobs in a host's answer to ``status``.

    :raises ProtocolError: it is none.
    """
    return _checked(HeldJob, answer.get("jobs", ()), host=host)


def strays_in(answer: Mapping[str, Any], *, host: str) -> list[Stray]:
    """Return the processes in a host's answer to ``strays``.

    :raises ProtocolError: it is none.
    """
    return _checked(Stray, answer.get("strays", ()), host=host)


def in_question(jobs: Iterable[HeldJob], *, deployment: str) -> list[HeldJob]:
    """Return the jobs that this Airflow has to answer for: none of another's, of a person's, or meant to outlive."""
    return [
        each
        for each in jobs
        if each.run is not None and each.owner and each.owner["deployment"] == deployment and not each.outlives
    ]


def find_orphans(jobs: Iterable[HeldJob], states: Mapping[Run, RunState]) -> list[Orphan]:
    """Return those of ``jobs`` whose run is over, and that no other is about to take over.

    :param states: of runs and heirs; one that it does not have may well be active.
    """
    found = [Orphan(each, each.run, states.get(each.run, RunState.ACTIVE)) for each in jobs if each.run is not None]
    return [each for each in found if each.state is not RunState.ACTIVE and not _is_awaited(each.held, states)]


def _is_awaited(held: HeldJob, states: Mapping[Run, RunState]) -> bool:
    """Return whether somebody else than its owner has installed the job, and may be about to start it."""
    if held.installed_by in (None, held.owner):
        return False
    return held.heir is None or states.get(held.heir, RunState.ACTIVE) is RunState.ACTIVE


def seen_twice(before: Sequence[Orphan], now: Sequence[Orphan]) -> list[Orphan]:
    """Return the orphans of ``now`` that were so before, with the same owner."""
    known = [(each.held.job, each.held.owner) for each in before]
    return [each for each in now if (each.held.job, each.held.owner) in known]


def find_bereft(watches: Iterable[WatchTask], jobs: Iterable[HeldJob], *, host: Host, machine: str) -> list[WatchTask]:
    """Return those of ``watches`` whose job should be on ``host`` and is not, or not theirs any more."""
    known = [(each.job, each.owner) for each in jobs]
    return [
        each
        for each in watches
        if each.is_at(host, machine=machine) and (each.pin["job"], each.pin["owner"]) not in known
    ]


def hosts_of(jobs: Iterable[Job]) -> list[Host]:
    """Return the hosts of ``jobs``, each root on them once, by name and root."""
    found: dict[str, Host] = {}
    for job in jobs:
        host = Host.model_validate(job.host.model_dump(exclude=_ONLY_FOR_SETUP, exclude_defaults=True))
        found.setdefault(host.model_dump_json(), host)
    return sorted(found.values(), key=lambda host: (host.name, host.root))


def is_templated(host: Host) -> bool:
    """Return whether something in it has yet to be rendered by Airflow."""
    return any(isinstance(value, str) and is_template(value) for value in host.model_dump().values())


def _run_of(owner: Mapping[str, str] | None) -> Run | None:
    owner = owner or {}
    return Run(owner["dag_id"], owner["run_id"]) if {"deployment", "dag_id", "run_id"} <= owner.keys() else None


def _checked(model: type[_Model], items: Any, *, host: str) -> list[_Model]:
    try:
        return [model.model_validate(item) for item in items]
    except (ValidationError, TypeError) as error:
        raise ProtocolError(f"the host sent a {model.__name__} that is none: {error}", host=host) from error
