"""Counts trials and violations by promise and fault, over all workers of a test run, and keeps them in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import FACTS


@dataclass
class Row:
    """What was found of one fault."""

    promise: str
    fault: str
    runs: int = 0
    trials: int = 0
    violations: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: str = ""


class Tally:
    """Listens to the reports of tests that bear the marker ``promise``."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self._failed: set[str] = set()

    def add(self, report: pytest.TestReport) -> None:
        """Take a report's news; the last one of a test, its teardown's, closes the trial."""
        told: dict[str, Any] = dict(report.user_properties)
        if FACTS not in told:
            return
        facts = told[FACTS]
        row = self.rows.setdefault((facts["promise"], facts["fault"]), Row(facts["promise"], facts["fault"]))
        if report.skipped:
            row.skipped = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            return
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "teardown" and (not row.skipped or report.nodeid in self._failed):
            row.runs += 1
            row.trials += told.get("tried", 1)
            if report.nodeid in self._failed:
                row.violations += told.get("violated", 1)
                row.failed.append(report.nodeid)

    def write(self, path: Path, **measured: Any) -> None:
        """Keep the rows, beside what they were measured with."""
        rows = [asdict(row) for row in sorted(self.rows.values(), key=lambda row: (int(row.promise[1:]), row.fault))]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**measured, "rows": rows}, indent=1) + "\n")
