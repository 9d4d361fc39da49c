"""The shapes of what an agent says, as docs/reference/protocol.md has them.

An agent runs on a host that we do not trust: a line that is not of these shapes breaks the pipe.
Unknown keys pass, so that a longer answer is no error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from typing_extensions import NotRequired, TypedDict

Count = Annotated[int, Field(ge=0, le=2**63)]
Pid = Annotated[int, Field(ge=1, le=2**31)]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Stream = Literal["stdout", "stderr"]
Owner = dict[str, str]


class _Shape(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]


class Extent(_Shape):
    """Where a generation's output begins and, so far, ends; in bytes."""

    start: Count
    end: Count


class Status(_Shape):
    """One process."""

    job: str
    program: str
    process: str
    group: str
    state: str | None
    phase: Literal["new", "starting", "running", "backoff", "stopping", "ended", "lost"]
    pid: Pid | None
    runner_pid: Pid | None
    generation: Count
    owner: Owner | None
    started_at: float | None
    ended_at: float | None
    #: supervisord, the only witness of what runs without a runner, says -1 for any signal
    exit_code: Annotated[int, Field(ge=-1, le=255)] | None
    signal: Annotated[int, Field(ge=1, le=64)] | None
    restarts: Count
    record: dict[str, Any] | None
    stdout: str | None
    stderr: str | None
    positions: dict[Stream, Extent | None]
    action: NotRequired[str]


class JobStatus(_Shape):
    """One job and its processes."""

    job: str
    owner: Owner | None
    hash: str | None
    installed_at: float | None
    released: bool
    processes: list[Status]


class Chunk(_Shape):
    """A piece of a process's output."""

    stream: Stream
    generation: Count
    position: Count
    time: float | None
    data: Base64
    lost: Count


class Supervisord(_Shape):
    """Which supervisord serves the root."""

    source: Literal["option", "path", "python", "bundled", "attached"] | None
    command: list[str] | None
    pid: Pid | None


class Hello(_Shape):
    """Who answers."""

    sha256: str
    python: str
    hostname: str
    machine_id: str | None
    boot_id: str | None
    user: str
    uid: Count
    root: str
    socket: str
    supervisord: Supervisord


class Processes(_Shape):
    """What start, stop and restart did."""

    processes: list[Status]


class Jobs(_Shape):
    """What status says."""

    supervisord: dict[str, Any]
    jobs: list[JobStatus]


class Logs(_Shape):
    """A piece of the log, and where the next one begins."""

    chunks: list[Chunk]
    next: Count
    end: Count
    lost: Count


class Watch(_Shape):
    """A watch that began."""

    sub: Count
    job: JobStatus


class Refusal(_Shape):
    """Why a request was refused."""

    code: str
    message: str
    job: NotRequired[str | None]
    program: NotRequired[str | None]


class _Event(_Shape):
    sub: int


class StateEvent(_Event):
    """A process's status changed."""

    process: Status


class LogEvent(_Event, Chunk):
    """A process wrote something."""

    process: str


class OwnerEvent(_Event):
    """The job has another owner now."""

    owner: Owner | None


class SupervisordEvent(_Event):
    """supervisord died or was brought back."""

    pid: Pid | None
    state: str | None


class GoneEvent(_Event):
    """The job was removed from the host."""


class RelayEvent(_Event):
    """Bytes from supervisord's socket."""

    data: Base64
    eof: bool


#: The shape of a verb's result; other verbs answer any object.
RESULTS: dict[str, Any] = {
    "hello": Hello,
    "start": Processes,
    "stop": Processes,
    "restart": Processes,
    "status": Jobs,
    "logs": Logs,
    "watch": Watch,
}
#: The shape of an event, by its name; others are ignored.
EVENTS: dict[str, Any] = {
    "state": StateEvent,
    "log": LogEvent,
    "owner": OwnerEvent,
    "supervisord": SupervisordEvent,
    "gone": GoneEvent,
    "relay": RelayEvent,
}
REFUSAL = Refusal
