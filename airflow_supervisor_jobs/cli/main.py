"""``supervisor-jobs``: the commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from airflow_supervisor_jobs.cli import declared, lives, logs, looks, orphans, tunnel
from airflow_supervisor_jobs.cli.console import print_error
from airflow_supervisor_jobs.cli.options import Exit, Format
from airflow_supervisor_jobs.exceptions import ConfigError, SupervisorJobsError

app = typer.Typer(
    name="supervisor-jobs",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Long-running jobs on your hosts, supervised by supervisord: start, watch and stop them without Airflow.",
    epilog="Exits with 0, 1 (failed), 2 (configuration or usage), 3 (host), 4 (orphans), 124 (--timeout), "
    "130 (interrupted); wait and up --wait with the job's own code, or 128 + its signal.",
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Long-running jobs on your hosts, supervised by supervisord: start, watch and stop them without Airflow."""
    del debug  # it is for run(), which sees the errors


for commands in (declared, lives, looks, logs, orphans, tunnel):
    commands.add_to(app)


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return what to exit with; errors are printed, a line each."""
    try:
        return int(app(list(arguments), standalone_mode=False) or Exit.OK)
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _tell(error, form=_format_of(arguments))


def _tell(error: Exception, *, form: Format) -> int:
    if isinstance(error, SupervisorJobsError):
        print_error(error, form=form)
        return error.exit_status
    if isinstance(error, typer.TyperException):
        print_error(ConfigError(f"{error.format_message()} See supervisor-jobs --help."), form=form)
        return Exit.CONFIG
    words = f"this is a defect of supervisor-jobs: {type(error).__name__}: {error}. See its traceback with --debug"
    print_error(SupervisorJobsError(words), form=form)
    return Exit.FAILED


def _format_of(arguments: Sequence[str]) -> Format:
    """The errors of a command line that could not be read are to be in the right form, too."""
    glued = {"-ojson", "-o=json", "--output=json"}
    pairs = pairwise(arguments)
    is_json = bool(glued & set(arguments)) or any(pair in (("-o", "json"), ("--output", "json")) for pair in pairs)
    return Format.JSON if is_json else Format.TABLE
