"""Runs the benchmarks one after the other, each in a process of its own, and writes their tables into the docs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import growth
from bench.report import FOLDER, TREE, Table
from tests.faults.campaign.table import write
from tests.services.airflow import scrubbed

PAGE = TREE / "docs/explanation/performance.md"
#: What each may take, in seconds, before it is ended: about twice what it took on two quiet processors.
LIMITS_S = {"exits": 600, "idle": 1200, "daemon": 480, "parsing": 600, "logs": 480, "hosts": 600, "submit": 900}
NAMES = tuple(LIMITS_S)
#: How long one that is told to end may take to end what it has started.
_LEAVE_S = 90
EXAMPLES = """\
examples:
  make bench                          all, on the page docs/explanation/performance.md
  make bench ONLY="exits idle"        some; the other tables stay
  python -m bench --quick submit      small sizes, and nothing on the page: does it run?
  python -m bench --page              only write the page again, from what lies in .bench
"""


def run(name: str, *, quick: bool) -> str:
    """Return why the benchmark did not come to its end; nothing if it did."""
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        environ = scrubbed(os.environ) | {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        }
        command = [sys.executable, "-W", "ignore", "-m", f"bench.{name}", *(["--quick"] if quick else [])]
        with subprocess.Popen(command, cwd=TREE, env=environ) as process:
            try:
                status = process.wait(LIMITS_S[name])
            except subprocess.TimeoutExpired:
                end(process)
                return f"ended after {LIMITS_S[name]} s"
        return f"exit status {status}, see above" if status else ""


def end(process: subprocess.Popen[bytes]) -> None:
    """It has ended, and has had time to end what it had started."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def fill(page: Path, failed: Sequence[str] = ()) -> None:
    """Every table that was ever measured is on the page, between its marks, and says if it is not of this run."""
    reports = {name: json.loads(path.read_text()) for name in NAMES if (path := FOLDER / f"{name}.json").exists()}
    for name in NAMES:
        lines = []
        if name in failed:
            lines += ["**The last run of this benchmark did not come to its end.** What follows is older.", ""]
        report = reports.get(name, {"tables": [], "notes": []})
        for table in report["tables"]:
            lines += [*Table(**table).markdown(), ""]
        write(page, name, [*lines, *(f"- {note}" for note in report["notes"])])
    write(page, "growth", growth.write(page.parent))
    write(page, "where", [where(), "", when(reports)])


def where() -> str:
    """Return on what it was measured."""
    return (
        f"Measured on {os.cpu_count()} processors ({platform.machine()}, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()})."
    )


def when(reports: dict[str, dict[str, object]]) -> str:
    """Return of each benchmark when it was run, and how long it took."""
    runs = [f"{name} {report['measured']} ({report['seconds']:.0f} s)" for name, report in reports.items()]
    return f"Runs: {', '.join(runs)}." if runs else "Nothing was measured yet."


def main() -> int:
    """Run what the command line names, all by default, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=(__doc__ or "").partition("\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs, not what it costs")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page from what was measured")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    console, failed, began = Console(), {}, time.monotonic()
    for name in () if options.page else options.names or NAMES:
        of_this = time.monotonic()
        if why := run(name, quick=options.quick):
            failed[name] = why
        console.print(f"[bold]{name}[/]: {time.monotonic() - of_this:.0f} s\n")
    console.print(f"All: {(time.monotonic() - began) / 60:.1f} minutes")
    if not options.quick:
        fill(PAGE, list(failed))
    for name, why in failed.items():
        console.print(f"[red]not measured: {name} ({why})[/]")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
