"""Writes what the campaigns found into docs/explanation/reliability.md, between its two marks.

python -m tests.faults.campaign.table
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

TREE = Path(__file__).parents[3]
PAGE = TREE / "docs/explanation/reliability.md"
FOUND, PEERS = TREE / ".faults/found.json", TREE / ".faults/peers.json"
SYSTEMS = ("airflow-supervisor-jobs", "SSHRemoteJobOperator", "airflow-supervisor", "plain supervisord")


def bound(runs: int, violations: int) -> str:
    """Return the 95 % upper bound of how often it happens: three in so many runs, where it never did.

    Runs, not cases: what happens to the jobs of one run is no chance of each of them alone.
    """
    return f"{300 / runs:.2g} %" if runs > 3 and not violations else "–"


def own_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of this project's promises, with a sum for each."""
    lines = ["| promise | fault | runs | cases | violations | at most (95 %) |", "|---|---|---:|---:|---:|---:|"]
    for promise, group in groupby(rows, key=lambda row: row["promise"]):
        faults = list(group)
        sums = [sum(row[name] for row in faults) for name in ("runs", "trials", "violations")]
        numbers = [*map(str, sums), bound(sums[0], sums[2])]
        lines.append(f"| **{promise}** | **all** | " + " | ".join(f"**{number}**" for number in numbers) + " |")
        for row in faults:
            if row["trials"]:
                told = bound(row["runs"], row["violations"])
                counts = f"{row['runs']} | {row['trials']} | {row['violations']} | {told}"
            else:
                counts = f"not run: {row['skipped']} | | |"
            lines.append(f"| {promise} | {row['fault']} | {counts} |")
    return lines


def peers_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the same faults on all systems, and why some of them were not tried."""
    lines = ["| promise | fault | " + " | ".join(SYSTEMS) + " |", "|---|---|" + "---:|" * len(SYSTEMS)]
    for row in rows:
        cells = [row["cells"][system] for system in SYSTEMS]
        lines.append(f"| {row['promise']} | {row['fault']} | " + " | ".join(map(cell_text, cells)) + " |")
    return lines


def cell_text(cell: dict[str, Any]) -> str:
    """Return a cell's words."""
    if "not_run" in cell:
        return f"not run: {cell['not_run']}"
    failed = f", {cell['errors']} not finished" if "errors" in cell else ""
    return f"{cell['violations']} of {cell['trials']}{failed}"


def write(page: Path, name: str, lines: list[str]) -> None:
    """Put the lines between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def main() -> None:
    """Write what there is; a table whose campaign was not run stays as it is."""
    if FOUND.exists():
        found = json.loads(FOUND.read_text())
        said = f"`make faults N={found['trials']} SEED={found['seed']}` on {found['processors']} processors."
        write(PAGE, "faults", [*own_table(found["rows"]), "", said])
    if PEERS.exists():
        write(PAGE, "peers", peers_table(json.loads(PEERS.read_text())["rows"]))


if __name__ == "__main__":
    main()
