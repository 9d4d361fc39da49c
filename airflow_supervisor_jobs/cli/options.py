"""What the commands share on their command lines."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated

import typer

from airflow_supervisor_jobs.exceptions import ConfigError


class Format(str, Enum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


class Exit(IntEnum):
    """What the commands exit with, beside a job's own code and the exceptions' ``exit_status``."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    HOST = 3
    ORPHANS = 4
    TIMED_OUT = 124
    INTERRUPTED = 130


class IfRunning(str, Enum):
    """What ``up`` does about a copy that somebody else started and that runs."""

    FAIL = "fail"
    ADOPT = "adopt"
    RESTART = "restart"


class Target(str, Enum):
    """What ``render`` shows."""

    SUPERVISORD = "supervisord"
    JOB = "job"


ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config-dir",
        envvar="SUPERVISOR_JOBS_CONFIG_DIR",
        help="The folder with job/, host/ and policy/; by default the nearest configs/ from here upward.",
    ),
]
Output = Annotated[Format, typer.Option("-o", "--output", help="For people, or for programs.")]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's name, that of its file in job/; or the file's path.")
]
Programs = Annotated[
    list[str] | None, typer.Option("--program", metavar="PROGRAM", help="Only this program; may be given again.")
]
OnHost = Annotated[
    str | None, typer.Option("--on", metavar="HOST", help="The host it is on, for a job whose file is gone or broken.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="What to change in the job's file for this once.")
]


def overrides_of(words: Sequence[str] | None) -> list[str]:
    """Return the overrides that trail a command line.

    :raises ConfigError: a word is none.
    """
    for word in words or ():
        if not is_override(word):
            raise ConfigError(f"{word!r} is not an override. Write key=value, like host=staging")
    return list(words or ())


def is_override(word: str) -> bool:
    """Return whether a word of a command line is an override: ``key=value``, or Hydra's ``~key``."""
    return "=" in word or word.startswith("~")


def who() -> str:
    """Return who gives the orders, as ``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def owner() -> dict[str, str]:
    """Return the owner of what the command line starts."""
    return {"deployment": "cli", "user": who()}
