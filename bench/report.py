"""What a benchmark found: tables for people, and every single figure as JSON."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

TREE = Path(__file__).parents[1]
FOLDER = TREE / ".bench"
#: Columns that the widest table needs.
_WIDTH = 150


@dataclass
class Table:
    """Rows of words; the first column names, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def markdown(self) -> list[str]:
        """Return the lines of the table, its title above."""
        rule = "|---|" + "---:|" * (len(self.columns) - 1)
        rows = [f"| {' | '.join(row)} |" for row in (self.columns, *self.rows)]
        return [f"**{self.title}**", "", rows[0], rule, *rows[1:]]

    def rich(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(title=escape(self.title), title_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(escape(column), justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table


@dataclass
class Report:
    """All that one benchmark found.

    :param name: of its module, and of its mark in docs/explanation/performance.md.
    :param figures: every single measurement; seconds, bytes and counts.
    :param notes: what a reader of the tables has to know, a line each.
    :param goals: rows of the table of goals, which comes last.
    :param quick: whether the sizes were small: it shows that the benchmark runs, and is not kept.
    """

    name: str
    quick: bool
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    goals: list[Sequence[str]] = field(default_factory=list)
    #: The day, and how many seconds it took.
    measured: str = ""
    seconds: float = 0.0

    def table(self, title: str, *columns: str) -> Table:
        """Return a new table of this report."""
        self.tables.append(Table(title, columns))
        return self.tables[-1]

    def goal(self, what: str, wanted: str, found: float, bound: float, *, unit: str, at_least: bool = False) -> None:
        """The table of goals says whether this one is met.

        :param bound: the most that ``found`` may be, or the least.
        """
        met = found >= bound if at_least else found <= bound
        missed = (bound / found if at_least and found else found / bound if bound else found) if not met else 1
        words = "yes" if met else f"**no**, by {digits(missed)} ×"
        self.goals.append((what, wanted, f"{digits(found)} {unit}".strip(), words))

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What fails inside the block is told of and in a note; what comes after it is measured all the same."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            words = next(iter(str(error).splitlines()), "")
            note = f"**Not measured**: {what} ({type(error).__name__}: {words[:200]})"
            if note not in self.notes:
                self.notes.append(note)

    def publish(self) -> None:
        """The tables are on the terminal, and all of it in ``.bench``."""
        if self.goals:
            self.table("Goals", "goal", "wanted", "found", "met").rows += self.goals
        console = Console()
        console.width = max(console.width, _WIDTH)
        for table in self.tables:
            console.print(table.rich())
        for note in self.notes:
            console.print(escape(note))
        FOLDER.mkdir(exist_ok=True)
        name = f"{self.name}.quick.json" if self.quick else f"{self.name}.json"
        (FOLDER / name).write_text(json.dumps(asdict(self), indent=1) + "\n")


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def digits(value: float) -> str:
    """Return the value with three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median, and between which values all of them lie.

    >>> spread([3.0, 1.0, 2.0])
    '2.00 (1.00 to 3.00)'
    """
    if not values:
        return "–"
    middle = digits(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({digits(min(values))} to {digits(max(values))})"


def milliseconds(values: Sequence[float]) -> str:
    """Return median and spread of seconds as milliseconds."""
    return spread([value * 1000 for value in values])


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Return how many times their median is ours."""
    if not theirs or not ours or not statistics.median(ours):
        return "–"
    return f"{digits(statistics.median(theirs) / statistics.median(ours))} ×"


def main(measure: Callable[..., Report]) -> None:
    """Measure by what the command line says, and publish."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    began = time.monotonic()
    report = measure(quick=parser.parse_args().quick)
    report.measured = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    report.seconds = time.monotonic() - began
    report.publish()
