"""Runs the benchmarks one after the other, each in a process of its own, and writes their tables into the docs.

python -m bench [--quick] [NAME …]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console

from bench.report import FOLDER, TREE, Table
from tests.faults.campaign.table import write
from tests.services.airflow import scrubbed

PAGE = TREE / "docs/explanation/performance.md"
NAMES = ("exits", "idle", "daemon", "parsing", "logs", "hosts", "submit")


def run(name: str, *, quick: bool) -> bool:
    """Return whether the benchmark ran to its end."""
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        environ = scrubbed(os.environ) | {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        }
        command = [sys.executable, "-W", "ignore", "-m", f"bench.{name}", *(["--quick"] if quick else [])]
        return subprocess.run(command, cwd=TREE, env=environ, check=False).returncode == 0


def fill(page: Path) -> None:
    """Every table that was measured is on the page, between its marks; the others stay as they are."""
    for name in NAMES:
        path = FOLDER / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text())
            lines: list[str] = []
            for table in report["tables"]:
                lines += [*Table(**table).markdown(), ""]
            write(page, name, [*lines, *report["notes"]])
    write(page, "where", [where()])


def where() -> str:
    """Return on what it was measured."""
    return (
        f"Measured {datetime.now(timezone.utc):%Y-%m-%d} on {os.cpu_count()} processors ({platform.machine()}, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()})."
    )


def main() -> int:
    """Run what the command line names, all by default, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs, not what it costs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    console, failed = Console(), []
    for name in options.names or NAMES:
        began = time.monotonic()
        if not run(name, quick=options.quick):
            failed.append(name)
        console.print(f"[bold]{name}[/]: {time.monotonic() - began:.0f} s\n")
    if not options.quick:
        fill(PAGE)
    if failed:
        console.print(f"[red]did not run to their end: {', '.join(failed)}[/]")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
