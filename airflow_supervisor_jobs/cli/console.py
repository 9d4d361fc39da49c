"""Printing: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from airflow_supervisor_jobs.cli.options import Format
from airflow_supervisor_jobs.exceptions import SupervisorJobsError

_STYLES = {"RUNNING": "green", "STARTING": "yellow", "STOPPING": "yellow", "BACKOFF": "yellow", "EXITED": "dim"}
_BAD = "red"
_RETRIES = "airflow_supervisor_jobs.hosts.handshake"
_progress: Live | None = None


def out() -> Console:
    """Return the console for results; made anew, so that a redirected standard output is honoured."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Return the console for everything else."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print one JSON document."""
    print_plain(json.dumps(data, indent=2, ensure_ascii=False))


def print_json_line(data: Any) -> None:
    """Print one JSON document in one line."""
    print_plain(json.dumps(data, ensure_ascii=False))


def print_plain(text: str) -> None:
    """Print text as it is, at once."""
    _end_progress()
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def say(text: str, *, style: str | None = None) -> None:
    """Tell people something that is no result."""
    console = err() if _progress is None else _progress.console
    console.print(Text(text, style=style or ""))


def print_error(error: SupervisorJobsError, *, form: Format) -> None:
    """Print an error: a line for people, an object for programs."""
    if form is Format.TABLE:
        say(str(error), style=_BAD)
        return
    facts = {"type": type(error).__name__, "message": str(error), "code": getattr(error, "code", None)}
    about = {"host": error.host, "job": error.job, "program": error.program}
    sys.stderr.write(json.dumps({"error": {**facts, **about}}) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, form: Format) -> None:
    """Print rows: all they have as JSON, the ``columns`` as a table; a table without rows is not printed."""
    if form is Format.JSON:
        print_json(list(rows))
        return
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row) for column in columns))
    _end_progress()
    console = out()
    if not console.is_terminal:
        console.width = 10_000  # what goes into a file or a pipe is not wrapped
    console.print(table)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something goes on, until there is a result; what is given changes the words.

    That a host is tried again is said elsewhere, too, once.
    """
    global _progress
    console = err()
    if not console.is_terminal:
        with _retries_told(cache(say)):
            yield lambda _text: None
        return
    spinner = Spinner("dots", Text(text))
    # Standard output may lead elsewhere: it is not to be drawn into the display.
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as _progress:
        try:
            with _retries_told(lambda words: spinner.update(text=Text(words))) as tell:
                yield tell
        finally:
            _progress = None


@contextmanager
def _retries_told(tell: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Let ``tell`` hear, too, that a host which turned us away is tried again."""
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]
    log, level = logging.getLogger(_RETRIES), logging.getLogger(_RETRIES).level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield tell
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _end_progress() -> None:
    global _progress
    if _progress is not None:
        _progress.stop()
        _progress = None


def _cell(column: str, row: Mapping[str, Any]) -> Text:
    value = row.get(column)
    if column == "state" and value is None and row.get("phase"):
        value = str(row["phase"]).upper()  # supervisord is away: what the host itself knows
    if value is None:
        return Text("-", style="dim")
    if column.endswith("_at"):
        return Text(datetime.fromtimestamp(value).astimezone().strftime("%Y-%m-%d %H:%M:%S"))
    if column == "action":
        return Text(str(value).replace("_", " "))
    if column == "state":
        return Text(str(value), style=_STYLES.get(str(value), _BAD))
    return Text(str(value))
