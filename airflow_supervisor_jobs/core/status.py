"""What a host says about a process, checked: the *status* and the *exit record* of docs/reference/protocol.md."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from airflow_supervisor_jobs.exceptions import ProtocolError


class Phase(str, Enum):
    """Where the present generation of a process stands, as the host knows it."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    ENDED = "ended"
    LOST = "lost"


class EndReason(str, Enum):
    """Why a generation ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    COULD_NOT_START = "could_not_start"
    LOST = "lost"
    HUNG = "hung"
    LEASE_ENDED = "lease_ended"


_STOPPED = (EndReason.STOPPED, EndReason.TERMINATED)


class StopReason(str, Enum):
    """Why a stop of ours was ordered."""

    STOPPED = "stopped"
    EXPIRED = "expired"
    KILLED = "killed"
    RESTART = "restart"


class _Wire(BaseModel):
    """From the host: unknown keys are those of a newer or older host side, and are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Stop(_Wire):
    """An order to stop, as the exit record keeps it."""

    by: str | None = None
    reason: StopReason = StopReason.STOPPED
    at: float | None = None


class ExitRecord(_Wire):
    """What the runner wrote when it reaped the program; times in seconds since the epoch."""

    generation: int
    reason: EndReason
    owner: dict[str, str] | None = None
    pid: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    core: bool = False
    message: str | None = None
    stop: Stop | None = None
    final: bool = True
    restart: dict[str, float] | None = None
    max_rss_kib: int | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    positions: dict[str, int] | None = None
    dropped: int | None = None
    complete: bool = True
    ended: list[int] | None = None
    survivors: list[int] | None = None

    @field_validator("positions", mode="before")
    @classmethod
    def _ends(cls, value: Any) -> Any:
        """A runner may keep whole spans: their ends are what counts."""
        if not isinstance(value, Mapping):
            return value
        return {stream: span["end"] if isinstance(span, Mapping) else span for stream, span in value.items()}


class Span(_Wire):
    """Where the output of a generation begins in its stream and, so far, ends."""

    start: int = 0
    end: int = 0


class ProcessStatus(_Wire):
    """The newest that the host knows about one process."""

    job: str
    program: str
    process: str
    group: str | None = None
    state: str | None = None
    phase: Phase
    pid: int | None = None
    runner_pid: int | None = None
    generation: int = 0
    owner: dict[str, str] | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    restarts: int = 0
    record: ExitRecord | None = None
    stdout: str | None = None
    stderr: str | None = None
    positions: dict[str, Span | None] = {}

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any], *, host: str | None = None) -> ProcessStatus:
        """Return the status that ``raw`` is.

        :raises ProtocolError: it is none.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ProtocolError(f"the host sent a status that is none ({where}: {first['msg']})", host=host) from error

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, as for an XCom."""
        return self.model_dump(mode="json")

    @property
    def statename(self) -> str | None:
        """Supervisord's statename, refined by what the host itself knows: supervisord notices an end later."""
        if self.phase is Phase.BACKOFF:
            return "BACKOFF"
        if self.phase is Phase.ENDED and self.has_ended and self.state not in ("FATAL", "STOPPED"):
            return "STOPPED" if self.record is not None and self.record.reason in _STOPPED else "EXITED"
        return self.state

    @property
    def has_ended(self) -> bool:
        """Whether this order of the process is over: nothing on the host will start it again by itself."""
        if self.phase is Phase.LOST:
            return True
        return self.phase is Phase.ENDED and (self.record is None or self.record.final)


def signal_name(number: int) -> str:
    """Return ``SIGKILL (9)`` for 9, and ``signal 77`` for a number without a name."""
    try:
        return f"{signals.Signals(number).name} ({number})"
    except ValueError:
        return f"signal {number}"
