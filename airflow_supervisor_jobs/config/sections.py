"""What stands beside programs: supervisord's group, fcgi-program and eventlistener sections, option by option."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from airflow_supervisor_jobs.config.base import MisfitError, Model, Owner
from airflow_supervisor_jobs.config.program import ProcessOptions
from airflow_supervisor_jobs.config.values import Octal, Strings, Text


class Group(Model):
    """A `[group:x]` of supervisord: programs that `supervisorctl` starts and stops together."""

    programs: Annotated[Strings, Field(min_length=1), Owner.SUPERVISORD]
    """The programs of this job that belong to it. What belongs to none is in the group with the job's name."""

    priority: Annotated[int, Field(ge=-(2**31), lt=2**31), Owner.SUPERVISORD] = 999
    """The group's priority."""


class FcgiProgram(ProcessOptions):
    """A `[fcgi-program:x]` of supervisord: processes that share a socket, which supervisord opens."""

    socket: Annotated[Text, Field(pattern=r"^(unix:///[^\s;#]+|tcp://[^\s:;#]+:\d{1,5})$"), Owner.SUPERVISORD]
    """The socket: `unix:///path` or `tcp://host:port`."""

    socket_backlog: Annotated[Annotated[int, Field(ge=1, le=65535)] | None, Owner.SUPERVISORD] = None
    """The listen backlog."""

    socket_owner: Annotated[Text | None, Field(pattern=r"^[^\s;#%]+$"), Owner.SUPERVISORD] = None
    """The UNIX socket's `user` or `user:group`."""

    socket_mode: Annotated[Octal | None, Owner.SUPERVISORD] = None
    """The UNIX socket's mode, in octal; 0700 by default."""

    @model_validator(mode="after")
    def _socket_fits(self) -> FcgiProgram:
        if self.socket.startswith("tcp://") and (self.socket_owner or self.socket_mode is not None):
            raise MisfitError("is no UNIX socket. Leave socket_owner and socket_mode out", "socket")
        return self


class EventListener(ProcessOptions):
    """An `[eventlistener:x]` of supervisord: a process that is told of supervisord's events."""

    priority: Annotated[int, Field(ge=-(2**31), lt=2**31), Owner.SUPERVISORD] = -1
    """Lower ones are started first and stopped last."""

    events: Annotated[Strings, Field(min_length=1), Owner.SUPERVISORD]
    """The events' names, like PROCESS_STATE."""

    buffer_size: Annotated[int, Field(ge=1, le=1_000_000), Owner.SUPERVISORD] = 1000
    """How many events wait for a busy listener before the oldest is dropped."""

    result_handler: Annotated[Text, Field(pattern=r"^[\w.]+:[\w.]+$"), Owner.SUPERVISORD] = (
        "supervisor.dispatchers:default_handler"
    )
    """The function in supervisord's Python that reads the listener's answers."""

    @field_validator("redirect_stderr")
    @classmethod
    def _no_redirect(cls, value: bool) -> bool:
        if value:
            raise ValueError("a listener's standard output is its line to supervisord. Leave redirect_stderr out")
        return value

    @field_validator("events")
    @classmethod
    def _upper(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(event.upper() for event in value)
