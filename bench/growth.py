"""How costs grow with jobs and with hosts, from what the other benchmarks found."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.plot import Line, Panel, Points, draw, exponent
from bench.report import FOLDER, Table

MB = 1024 * 1024
PICTURE = "growth.svg"
IDLE = ("airflow-supervisor-jobs", "SSHRemoteJobOperator")


def panels() -> list[Panel]:
    """Return a panel for everything that was measured at more than one size."""
    idle, hosts, daemon = (figures(name) for name in ("idle", "hosts", "daemon"))
    of_jobs = {name: costs for name in IDLE if (costs := idle.get("systems", {}).get(name))}
    alone = {key.partition(" ")[0]: cost for key, cost in hosts.items() if key.endswith(" x 1")}
    shared = daemon.get("shared", {})
    found = [
        Panel("N idle jobs on one host", "jobs", "processor seconds a minute, all", lines(of_jobs, cpu_s)),
        Panel("N idle jobs on one host", "jobs", "MB on the host", lines(of_jobs, on_host_mb)),
        Panel("N idle jobs on one host", "jobs", "s until all are watched", lines(of_jobs, after_s)),
        Panel("N hosts with a job each, one triggerer", "hosts", "s, or MB", lines_of(alone, HOSTS)),
        Panel("Job N of one supervisord", "jobs", "ms", lines_of(shared, DAEMON)),
    ]
    return [panel for panel in found if panel.lines]


def figures(name: str) -> dict[str, Any]:
    """Return what that benchmark has measured; nothing if it was not run."""
    path = FOLDER / f"{name}.json"
    return dict(json.loads(path.read_text())["figures"]) if path.exists() else {}


Cost = dict[str, Any]
Figure = Callable[[Cost], float]


def cpu_s(cost: Cost) -> float:
    """Return the processor seconds a minute of all that watches and is watched."""
    return statistics.median(cost["cpu_s_a_minute"]["all"])


def on_host_mb(cost: Cost) -> float:
    """Return the memory of all on the host, without the programs."""
    return float(sum(size for part, size in cost["memory_bytes"].items() if part != "triggerer") / MB)


def after_s(cost: Cost) -> float:
    """Return the seconds until all jobs were watched."""
    return float(cost["after"])


def median_ms(key: str) -> Figure:
    """Return what takes the median of these seconds, in milliseconds."""
    return lambda cost: statistics.median(cost[key]) * 1000


HOSTS: dict[str, Figure] = {
    "s until all are watched": after_s,
    "MB in the triggerer": lambda cost: float(cost["memory"] / MB),
    "processor seconds a minute": lambda cost: statistics.median(cost["cpu_s_a_minute"]),
    "ms from an end to the event": median_ms("late_s"),
}
DAEMON: dict[str, Figure] = {name: median_ms(name) for name in ("install", "start", "status")}


def lines(systems: dict[str, dict[str, Cost]], figure: Figure) -> list[Line]:
    """Return a line for each system."""
    return [line for name, costs in systems.items() if (line := line_of(name, costs, figure))]


def lines_of(costs: dict[str, Cost], named: dict[str, Figure]) -> list[Line]:
    """Return a line for each figure of one system."""
    return [line for name, figure in named.items() if (line := line_of(name, costs, figure))]


def line_of(name: str, costs: dict[str, Cost], figure: Figure) -> Line | None:
    """Return the line, if there are two points; what is zero has no logarithm."""
    points: Points = [(float(size), value) for size, cost in costs.items() if (value := figure(cost)) > 0]
    return Line(name, points) if len(points) > 1 else None


def write(folder: Path) -> list[str]:
    """The picture is in the folder; return what stands on the page."""
    found = panels()
    if not found:
        return []
    (folder / PICTURE).write_text(draw(found))
    table = Table("The nearest power of N", ("", "of", "from N to N", "grows as"))
    for panel in found:
        for line in panel.lines:
            sizes = [size for size, _ in line.points]
            what = f"{panel.up}" if len(panel.lines) <= len(IDLE) and panel.title.startswith("N idle") else ""
            words = f"{line.name}, {what}" if what else line.name
            row = (panel.title, words, f"{min(sizes):.0f} to {max(sizes):.0f}", f"N^{exponent(line.points):.2f}")
            table.rows.append(row)
    return [f"![Costs against N, both axes logarithmic]({PICTURE})", "", *table.markdown()]
