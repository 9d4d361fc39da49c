"""The host's supervisord: the sections that belong to a daemon, option by option."""

from __future__ import annotations

import ipaddress
import re
from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator
from supervisor import datatypes

from airflow_supervisor_jobs.config.base import Model, Owner
from airflow_supervisor_jobs.config.environment import Secret
from airflow_supervisor_jobs.config.values import Boolean, ByteSize, Octal, Strings, Text

#: Text that stands in supervisord's own file as it is.
Plain = Annotated[Text, Field(min_length=1, pattern=r"^(?!.*\s[;#])[^\s\"](.*\S)?$")]

_OURS = "this is the root's own. Leave it out; a host's `root` moves all of it"


class LogLevel(Enum):
    """How much supervisord writes into its own log."""

    CRITICAL = "critical"
    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"
    BLATHER = "blather"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Supervisord(Model):
    """The `[supervisord]` section, and which supervisord to use."""

    command: Annotated[Plain | None, Owner.AGENT] = None
    """Ours: the host's supervisord; by default the one found there, else the one that comes with us."""

    attach: Annotated[Plain | None, Owner.AGENT] = None
    """Ours: the config file of a supervisord that runs already, to be used and never stopped by us."""

    logfile: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: the log is `supervisord.log` in the root, where we look for reasons."""

    logfile_maxbytes: Annotated[ByteSize | None, Owner.SUPERVISORD] = None
    """The size at which supervisord's own log is rotated."""

    logfile_backups: Annotated[Annotated[int, Field(ge=0)] | None, Owner.SUPERVISORD] = None
    """How many rotated ones are kept."""

    loglevel: Annotated[LogLevel | None, BeforeValidator(_lower), Owner.SUPERVISORD] = None
    """How much is written into it."""

    pidfile: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: it is `supervisord.pid` in the root, by which we know the daemon."""

    umask: Annotated[Octal | None, Owner.SUPERVISORD] = None
    """supervisord's own umask, in octal; 077 by default. Programs have their own."""

    nodaemon: Annotated[Boolean | None, Owner.REFUSED] = None
    """Only left out: it must outlive whoever started it."""

    silent: Annotated[Boolean | None, Owner.SUPERVISORD] = None
    """Whether its own log is kept off its standard output."""

    minfds: Annotated[Annotated[int, Field(ge=1)] | None, Owner.SUPERVISORD] = None
    """File descriptors that must be available; raise it for hundreds of programs."""

    minprocs: Annotated[Annotated[int, Field(ge=1)] | None, Owner.SUPERVISORD] = None
    """Processes that must be available."""

    nocleanup: Annotated[Boolean | None, Owner.SUPERVISORD] = None
    """Whether old files of AUTO logging are kept at its start. Our programs' logs are none of them."""

    childlogdir: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """The folder for AUTO logging of programs that are not ours."""

    user: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: it runs as whom we log in as, who owns the root. A program's `user` is free."""

    directory: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """Its working directory. Programs have their own."""

    strip_ansi: Annotated[Boolean | None, Owner.REFUSED] = None
    """Only left out: programs' output does not pass through it."""

    environment: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Text], Owner.SUPERVISORD] = Field(
        default_factory=dict
    )
    """Environment variables for all its programs. Secrets belong in a program's `environment`."""

    identifier: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """What it calls itself."""

    @field_validator("logfile", "pidfile", "nodaemon", "user", "strip_ansi")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(_OURS)
        return value

    @model_validator(mode="after")
    def _attached(self) -> Supervisord:
        if self.attach and self != Supervisord.model_construct(attach=self.attach):
            raise ValueError("an attached supervisord has a config of its own. Leave the other options out")
        return self


class UnixHttpServer(Model):
    """The `[unix_http_server]` section: the socket by which we talk to supervisord, in a folder that is 0700."""

    file: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: it is `supervisord.sock` in the root."""

    chmod: Annotated[Octal | None, Owner.SUPERVISORD] = None
    """The socket's mode, in octal; 0600 by default."""

    chown: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """The socket's `user` or `user:group`."""

    username: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: the folder protects the socket."""

    password: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: the folder protects the socket."""

    @field_validator("file", "username", "password")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(_OURS)
        return value


class InetHttpServer(Model):
    """The `[inet_http_server]` section: a TCP listener and supervisord's own page."""

    port: Annotated[Text, BeforeValidator(str, json_schema_input_type=str | int), Owner.SUPERVISORD]
    """A port on the loopback: `9001` or `127.0.0.1:9001`. From elsewhere, `supervisor-jobs tunnel` leads to it."""

    username: Annotated[Plain, Field(pattern=r"^[^:]+$"), Owner.SUPERVISORD]
    """Whom it lets in."""

    password: Annotated[Secret, Owner.SUPERVISORD]
    """The password, as `{env: NAME}` or `{file: PATH}`. supervisord's file gets its SHA-1 only."""

    @field_validator("port")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            host, port = datatypes.inet_address(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a port. Write 9001 or 127.0.0.1:9001") from error
        if ":" not in value:
            host = "127.0.0.1"
        if not _is_loopback(host):
            raise ValueError(
                f"{value!r} would listen to everybody. Write 127.0.0.1:{port}; `supervisor-jobs tunnel` leads there"
            )
        return f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class RpcInterface(Model):
    """An `[rpcinterface:x]` section: a plug-in of supervisord."""

    rpcinterface_factory: Annotated[
        str, Field(alias="supervisor.rpcinterface_factory", pattern=r"^[\w.]+:[\w.]+$"), Owner.SUPERVISORD
    ]
    """The function, in supervisord's Python, that makes it: `package.module:function`."""

    options: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$")], Plain], Owner.SUPERVISORD] = Field(
        default_factory=dict
    )
    """The plug-in's own options."""


class Include(Model):
    """The `[include]` section: files of the host's own, read beside ours."""

    files: Annotated[Strings, Field(min_length=1), Owner.SUPERVISORD]
    """Absolute paths or patterns."""

    @field_validator("files", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value

    @field_validator("files")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if not re.fullmatch(r"/[^\s;#%]*", path):
                raise ValueError(f"{path!r} must be an absolute path without blanks, ';', '#' and '%'")
        return value


class Supervisorctl(Model):
    """The `[supervisorctl]` section, for people who use it in the root."""

    serverurl: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: it is the root's socket."""

    username: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: the socket needs none."""

    password: Annotated[Plain | None, Owner.REFUSED] = None
    """Only left out: the socket needs none."""

    prompt: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """What it prompts with."""

    history_file: Annotated[Plain | None, Owner.SUPERVISORD] = None
    """Where it keeps the lines that were typed."""

    @field_validator("serverurl", "username", "password")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(_OURS)
        return value
