"""What runs: supervisord's program section, option by option, and what we add to it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airflow_supervisor_jobs.config.base import MisfitError, Model, Owner
from airflow_supervisor_jobs.config.environment import Environment
from airflow_supervisor_jobs.config.values import (
    Boolean,
    ByteSize,
    Command,
    Duration,
    ExitCodes,
    Octal,
    SignalName,
    Text,
    WholeSeconds,
    is_template,
    parse_autorestart,
    split_command,
)

_MEGABYTE = 1024 * 1024

#: When a program that ended is restarted on its host.
AutoRestart = Annotated[
    Literal["unexpected"] | bool,
    BeforeValidator(parse_autorestart, json_schema_input_type=Literal["unexpected"] | bool),
]


class IfSupervisordDies(Enum):
    """What happens to a program whose supervisord died."""

    KEEP = "keep"
    STOP = "stop"


class OnReboot(Enum):
    """What becomes of a program that was running when its host went down."""

    FAIL = "fail"
    RESTART = "restart"


class Restart(Model):
    """How often and how fast a program is restarted on its host; ``autorestart`` says whether."""

    attempts: Annotated[Annotated[int, Field(ge=0)] | None, Owner.RUNNER] = 3
    """Restarts within `interval`, after which the job has failed; null is without limit."""

    interval: Annotated[Duration, Owner.RUNNER] = 3600
    """Seconds in which restarts are counted."""

    delay: Annotated[Duration, Owner.RUNNER] = 1
    """Seconds before the first restart."""

    backoff: Annotated[float, Field(ge=1, allow_inf_nan=False), Owner.RUNNER] = 2
    """What the delay is multiplied with from one restart to the next."""

    max_delay: Annotated[Duration, Owner.RUNNER] = 60
    """The longest delay, in seconds."""

    jitter: Annotated[float, Field(ge=0, le=1), Owner.RUNNER] = 0.1
    """The part of a delay that is left to chance, 0 to 1, so that many jobs do not restart at once."""


class ProcessOptions(Model):
    """The options that program, fcgi-program and eventlistener have in common."""

    command: Annotated[Command, Owner.RUNNER]
    """What to run. A text is split into words as a POSIX shell would and goes to no shell; a list is taken as it is."""

    shell: Annotated[Boolean, Owner.RUNNER] = False
    """Run the text of `command` by `/bin/sh -c`."""

    process_name: Annotated[Text | None, Owner.SUPERVISORD] = None
    """The processes' name. May use `%(program_name)s`, `%(group_name)s` and `%(process_num)d`; by default the
    program's name, with `_%(process_num)02d` after it if `numprocs` is not 1."""

    numprocs: Annotated[int, Field(ge=1, le=1000), Owner.SUPERVISORD] = 1
    """How many processes to run."""

    numprocs_start: Annotated[int, Field(ge=0, le=1_000_000), Owner.SUPERVISORD] = 0
    """The first `process_num`."""

    priority: Annotated[int, Field(ge=-(2**31), lt=2**31), Owner.SUPERVISORD] = 999
    """Lower ones are started first and stopped last."""

    autostart: Annotated[Boolean, Owner.REFUSED] = False
    """Only false: a job is started by its DAG or by `up`, never by supervisord on its own, which would make a
    second copy after a crash of its own."""

    autorestart: Annotated[AutoRestart, Owner.RUNNER] = False
    """Whether a program that ended is restarted on its host: never, after a code that is not in `exitcodes` or a
    signal (`unexpected`), or always (true)."""

    startsecs: Annotated[WholeSeconds, Owner.RUNNER] = 0
    """Seconds to stay up before a start counts as good."""

    startretries: Annotated[int, Field(ge=0, le=1_000_000), Owner.RUNNER] = 3
    """Restarts in a row of a program that does not stay up for `startsecs`."""

    exitcodes: Annotated[ExitCodes, Field(min_length=1), Owner.RUNNER] = (0,)
    """The exit codes that mean success."""

    stopsignal: Annotated[SignalName, Owner.RUNNER] = "TERM"
    """The signal that asks the program to stop."""

    stopwaitsecs: Annotated[WholeSeconds, Owner.RUNNER] = 10
    """Seconds from `stopsignal` to SIGKILL."""

    stopasgroup: Annotated[Boolean, Owner.RUNNER] = False
    """Send `stopsignal` to the program's whole process group. Whatever is left of its tree is ended in any case."""

    killasgroup: Annotated[Boolean | None, Owner.RUNNER] = None
    """Send SIGKILL to the whole process group; by default as `stopasgroup`."""

    user: Annotated[Text | None, Field(min_length=1, pattern=r"^[^\s:]+$"), Owner.RUNNER] = None
    """The user to run as, if supervisord runs as root."""

    umask: Annotated[Octal | None, Owner.RUNNER] = None
    """The umask, in octal; 022 by default, whatever supervisord's is."""

    directory: Annotated[Text | None, Field(min_length=1), Owner.RUNNER] = None
    """The working directory: an absolute path, or one that begins with `~/`; the home by default."""

    environment: Annotated[Environment, Owner.RUNNER] = Field(default_factory=dict)
    """Environment variables. `{env: NAME}` and `{file: PATH}` are secrets, looked up when the job is set up."""

    serverurl: Annotated[Text | None, Owner.SUPERVISORD] = None
    """What `SUPERVISOR_SERVER_URL` says; by default (or AUTO) supervisord's own socket."""

    redirect_stderr: Annotated[Boolean, Owner.RUNNER] = False
    """Write standard error into standard output's log."""

    stdout_logfile: Annotated[Text, Owner.RUNNER] = "AUTO"
    """Where standard output is written: an absolute path, AUTO (in the job's folder on the host) or NONE."""

    stdout_logfile_maxbytes: Annotated[ByteSize, Owner.RUNNER] = 50 * _MEGABYTE
    """The size at which the file is rotated; 0 is never."""

    stdout_logfile_backups: Annotated[int, Field(ge=0, le=100_000), Owner.RUNNER] = 10
    """How many rotated files are kept."""

    stdout_capture_maxbytes: Annotated[ByteSize, Owner.REFUSED] = 0
    """Only 0: in capture mode supervisord cuts parts out of the output, which the runner carries here."""

    stdout_events_enabled: Annotated[Boolean, Owner.SUPERVISORD] = False
    """Emit PROCESS_LOG_STDOUT events. supervisord then gets a copy, and `supervisorctl tail` shows nothing."""

    stdout_syslog: Annotated[Boolean, Owner.SUPERVISORD] = False
    """Write standard output to syslog too, through supervisord; `supervisorctl tail` then shows nothing."""

    stderr_logfile: Annotated[Text, Owner.RUNNER] = "AUTO"
    """Where standard error is written: an absolute path, AUTO or NONE."""

    stderr_logfile_maxbytes: Annotated[ByteSize, Owner.RUNNER] = 50 * _MEGABYTE
    """The size at which the file is rotated; 0 is never."""

    stderr_logfile_backups: Annotated[int, Field(ge=0, le=100_000), Owner.RUNNER] = 10
    """How many rotated files are kept."""

    stderr_capture_maxbytes: Annotated[ByteSize, Owner.REFUSED] = 0
    """Only 0, as `stdout_capture_maxbytes`."""

    stderr_events_enabled: Annotated[Boolean, Owner.SUPERVISORD] = False
    """Emit PROCESS_LOG_STDERR events, as `stdout_events_enabled`."""

    stderr_syslog: Annotated[Boolean, Owner.SUPERVISORD] = False
    """Write standard error to syslog too, as `stdout_syslog`."""

    @field_validator("autostart")
    @classmethod
    def _no_autostart(cls, value: bool) -> bool:
        if value:
            raise ValueError("nothing starts by itself: the DAG (or `up`) starts it, exactly once. Leave autostart out")
        return value

    @field_validator("stdout_capture_maxbytes", "stderr_capture_maxbytes")
    @classmethod
    def _no_capture(cls, value: int) -> int:
        if value:
            raise ValueError("capture mode is supervisord's, and here the runner carries the output. Leave it out")
        return value

    @field_validator("directory")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not is_template(value) and not value.startswith(("/", "~/")) and value != "~":
            raise ValueError(f"{value!r} is relative, and to what is not known. Write an absolute path, or ~/PATH")
        return value

    @field_validator("stdout_logfile", "stderr_logfile", mode="before", json_schema_input_type=str | None)
    @classmethod
    def _log_file(cls, value: Any) -> Any:
        return parse_log_file(value)

    @model_validator(mode="after")
    def _command_fits(self) -> ProcessOptions:
        if self.shell and not isinstance(self.command, str):
            raise MisfitError("must be one text for a shell. Write a text, or leave shell out", "command")
        if isinstance(self.command, str) and not self.shell and not is_template(self.command):
            try:
                split_command(self.command)
            except ValueError as error:
                raise MisfitError(str(error), "command") from error
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> ProcessOptions:
        if self.stopasgroup and self.killasgroup is False:
            raise MisfitError("false would leave processes behind with stopasgroup: true. Leave one out", "killasgroup")
        return self

    @property
    def argv(self) -> tuple[str, ...]:
        """The words that are executed."""
        if not isinstance(self.command, str):
            return self.command
        return ("/bin/sh", "-c", self.command) if self.shell else split_command(self.command)


def parse_log_file(value: Any) -> Any:
    """Return an absolute path, AUTO or NONE.

    :raises ValueError: what the runner cannot write and rotate.
    """
    if value is None:
        return "NONE"
    if not isinstance(value, str):
        return value
    word = value.strip()
    if word.upper() in ("AUTO", "NONE", "OFF", "/DEV/NULL"):
        return "AUTO" if word.upper() == "AUTO" else "NONE"
    if word.lower() == "syslog":
        raise ValueError("'syslog' is not a file. Write stdout_syslog: true or stderr_syslog: true")
    if word.startswith("/dev/"):
        raise ValueError(
            f"{word} leads nowhere: supervisord has no terminal here. Leave it out; `logs -f` shows the output"
        )
    if not word.startswith(("/", "~/")):
        raise ValueError(f"{word!r} is relative, and to what is not known. Write an absolute path, AUTO or NONE")
    return value


class Program(ProcessOptions):
    """A `[program:x]` of supervisord, and what we add to it."""

    essential: Annotated[Boolean, Owner.AIRFLOW] = True
    """Whether the job's verdict waits for this program. Where none is essential, all are."""

    restart: Annotated[Restart, Owner.RUNNER] = Restart()
    """How often and how fast `autorestart` acts."""

    if_supervisord_dies: Annotated[IfSupervisordDies, Owner.RUNNER] = IfSupervisordDies.KEEP
    """Whether the program goes on (`keep`) or is stopped when supervisord dies."""

    on_reboot: Annotated[OnReboot, Owner.AGENT] = OnReboot.FAIL
    """What becomes of the program when its host reboots: it is `lost` (`fail`), or the host's agent starts it again
    (`restart`)."""

    watchdog: Annotated[Duration | None, Field(ge=1), Owner.RUNNER] = None
    """Seconds without output, or without a change of `heartbeat_file`, after which the program counts as hung."""

    heartbeat_file: Annotated[Text | None, Owner.RUNNER] = None
    """A file on the host that the program touches to show that it lives, in place of its output: an absolute path."""

    @model_validator(mode="after")
    def _heartbeat_has_effect(self) -> Program:
        if self.heartbeat_file is not None and self.watchdog is None:
            raise MisfitError("says what to look at, and watchdog how long. Add watchdog: 60s", "heartbeat_file")
        if self.heartbeat_file is not None and not self.heartbeat_file.startswith("/"):
            raise MisfitError("is relative, and to what is not known. Write an absolute path", "heartbeat_file")
        return self

    @model_validator(mode="after")
    def _restart_has_effect(self) -> Program:
        if "restart" in self.model_fields_set and self.restart != Restart() and self.autorestart is False:
            raise MisfitError("says how often, and autorestart whether. Add autorestart: unexpected", "restart")
        return self
