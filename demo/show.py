"""What the demo shows: progress and the programs' lines as they come, and a table in the end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.services.airflow_api import ENDED_RUN, AirflowApi

STEPS = (
    "configure_supervisord",
    "start_supervisord",
    "start_programs",
    "watch_programs",
    "restart_programs",
    "stop_programs",
    "stop_supervisord",
    "remove_configuration",
)
_PROGRAM_LINE = re.compile(r"\[[\w.-]+(:stderr)?\] ")
_COLOURS = {"success": "green", "failed": "red", "skipped": "magenta", "deferred": "blue", "running": "cyan"}
_QUIET = {None, "scheduled", "queued"}


@dataclass
class Run:
    """One DAG run, followed: each call of :meth:`follow` shows what is new."""

    api: AirflowApi
    console: Console
    job: str
    run_id: str
    state: str = "queued"
    asked_at: float = 0.0
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether Airflow says that the run is over."""
        return self.state in ENDED_RUN

    def follow(self) -> None:
        """Everything new is on the screen: steps that changed, and lines of the programs."""
        run = self.api.run(self.job, self.run_id)
        self.state, self.asked_at = run["state"], _moment(run["queued_at"])
        before, self.tasks = self.tasks, self.api.tasks(self.job, self.run_id)
        for step in STEPS:
            state = self.tasks[step]["state"]
            if state not in _QUIET and state != before.get(step, {}).get("state"):
                self._print(f"[{_COLOURS.get(state, 'white')}]{state:>8}[/] {step}")
        if self.tasks["watch_programs"]["state"] not in _QUIET:
            self._follow_log()

    def read_records(self) -> None:
        """The exit records are known."""
        xcoms = self.api.xcoms(self.job, self.run_id, "watch_programs")
        self.records = xcoms.get("return_value") or {}

    def _follow_log(self) -> None:
        lines = self.api.log_lines(self.job, self.run_id, "watch_programs")
        for line in lines[len(self.log) :]:
            if _PROGRAM_LINE.match(line):
                self._print(f"         {escape(line)}")
        self.log = lines

    def _print(self, text: str) -> None:
        self.console.print(f"[bold]{self.job:<16}[/]{text}", highlight=False)


def result_table(runs: list[Run]) -> Table:
    """Return the table of what came of each run."""
    table = Table(title="What came of it")
    table.add_column("step", no_wrap=True)
    for run in runs:
        table.add_column(run.job, no_wrap=True)
    table.add_row("the run", *(_coloured(run.state) for run in runs), style="bold", end_section=True)
    for step in STEPS:
        table.add_row(step, *(_coloured(str(run.tasks[step]["state"])) for run in runs), end_section=step == STEPS[-1])
    table.add_row("exit codes", *("\n".join(_ends(run.records)) for run in runs))
    table.add_row("started after", *(_start(run) for run in runs))
    table.add_row("the watch knew after", *("\n".join(_delays(run.records)) for run in runs))
    table.add_row("the watch ended after", *(_end(run) for run in runs))
    return table


def noticed_after(record: dict[str, Any]) -> float:
    """Return the seconds from the program's exit, or the watch's begin if that was later, to when the watch knew."""
    return float(record["noticed_at"]) - max(float(record["ended_at"]), float(record["watched_from"]))


def _start(run: Run) -> str:
    """From the trigger of the run to the start of its first program."""
    starts = [record["started_at"] for record in run.records.values()]
    return f"{min(starts) - run.asked_at:.1f} s" if starts else ""


def _end(run: Run) -> str:
    """From the exit of the last program to the end of the watch's task."""
    ends = [record["ended_at"] for record in run.records.values()]
    return f"{_moment(run.tasks['watch_programs']['end_date']) - max(ends):.1f} s" if ends else ""


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()  # Python 3.10 knows no Z


def _coloured(state: str) -> str:
    return f"[{_COLOURS.get(state, 'white')}]{state}[/]"


def _ends(records: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"{name}: {record['exit_code'] if record['signal'] is None else 'signal ' + str(record['signal'])}"
        for name, record in records.items()
    ]


def _delays(records: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{name}: {_delay(record)}" for name, record in records.items() if record["ended_at"] is not None]


def _delay(record: dict[str, Any]) -> str:
    if record["ended_at"] < record["watched_from"]:
        return "at first sight"
    return f"{1000 * noticed_after(record):.0f} ms"
