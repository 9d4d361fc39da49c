"""What supervisord costs: installing job N when N-1 are there, a look at all, memory; beside one for each job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.config import Job, make_job, render_spec
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.stream import StreamPipe
from bench.peer import AirflowSupervisor
from bench.processes import cpu_s, pss_bytes
from bench.report import Report, digits, main, milliseconds
from bench.stage import OWNER, folder, install_and_start, until

#: How many more jobs are installed, one after the other, at each size.
SAMPLES = 7
MB = 1024 * 1024
PRINT_THE_TIME = ["sh", "-c", "date +%s.%N; exec sleep 3600"]


class Root:
    """One root on this machine, and its agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = {"name": "bench", "root": str(root)}
        self.pipe: StreamPipe = open_pipe(resolve(make_job({"host": self.host, "command": "true"}, name="none").host))

    def job(self, name: str) -> Job:
        """Return a job that says the time and sleeps."""
        return make_job({"host": self.host, "command": PRINT_THE_TIME}, name=name)

    async def fill(self, names: list[str]) -> None:
        """The root has these jobs too, and they run."""
        await install_and_start(self.pipe, list(map(self.job, names)))

    async def install(self, name: str) -> float:
        """Return the seconds that the installation of one more job takes."""
        spec = render_spec(self.job(name))
        return await took(lambda: self.pipe.request("install", spec=spec, owner=OWNER, if_running="fail"))

    async def daemon(self, name: str) -> float:
        """Return the seconds until supervisord answers."""
        return await took(lambda: self.pipe.request("start_supervisord", job=name))

    async def start(self, name: str) -> tuple[float, float]:
        """Return the seconds of the start, and those from the runner's start to the program's first line."""
        words = {"job": name, "owner": OWNER, "programs": None, "if_running": "fail", "by": "bench"}
        began = time.monotonic()
        (process,) = (await self.pipe.request("start", **words))["processes"]
        seconds = time.monotonic() - began
        log = Path(process["stdout"])
        await until(lambda: _text(log).endswith("\n"), "the program's first line")
        return seconds, float(_text(log)) - process["started_at"]

    def supervisord(self) -> int:
        """Return supervisord's pid."""
        return int((self.root / "supervisord.pid").read_text())


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def took(work: Callable[[], Awaitable[Any]]) -> float:
    """Return how many seconds it took."""
    began = time.monotonic()
    await work()
    return time.monotonic() - began


async def shared(place: Path, size: int) -> dict[str, Any]:
    """Return what one supervisord costs at that number of jobs."""
    found: dict[str, Any] = {"install": [], "start": [], "first line": []}
    root = Root(place / "r")
    async with root.pipe:
        began = time.monotonic()
        await root.fill([f"job{number}" for number in range(size - 1)])
        found["filled after"] = time.monotonic() - began
        for number in range(size, size + SAMPLES):
            name = f"job{number}"
            found["install"].append(await root.install(name))
            await root.daemon(name)
            start, first_line = await root.start(name)
            found["start"].append(start)
            found["first line"].append(first_line)
        supervisord = root.supervisord()
        before = cpu_s([supervisord])
        found["status"] = [await took(lambda: root.pipe.request("status", job=None)) for _ in range(SAMPLES)]
        found["supervisord's part"] = (cpu_s([supervisord]) - before) / SAMPLES
        found["memory"] = pss_bytes([supervisord])
    return found


async def each_its_own(place: Path, size: int) -> dict[str, Any]:
    """Return what so many supervisords with a job each cost, in roots of their own."""
    found: dict[str, Any] = {"install": [], "daemon": [], "start": [], "memory": 0}
    for number in range(size):
        root = Root(place / str(number))
        async with root.pipe:
            found["install"].append(await root.install("job"))
            found["daemon"].append(await root.daemon("job"))
            found["start"].append((await root.start("job"))[0])
            found["supervisords"] = [*found.get("supervisords", []), root.supervisord()]
    found["memory"] = pss_bytes(found.pop("supervisords"))
    return found


async def of_another(place: Path, size: int) -> dict[str, Any]:
    """Return what so many jobs of airflow-supervisor cost, each with a supervisord of its own."""
    with AirflowSupervisor(place, at_once=1) as other:
        await other.start(["sh -c 'exec sleep 3600'"] * size)
        steps = {
            "install": [job["configure"] for job in other.set_up],
            "daemon": [job["supervisord"] for job in other.set_up],
            "start": [job["start"] for job in other.set_up],
        }
        return {**steps, "memory": pss_bytes(int(job["pid"]) for job in other.set_up)}


ALONE: dict[str, Callable[[Path, int], Awaitable[dict[str, Any]]]] = {
    "airflow-supervisor-jobs, a root for each": each_its_own,
    "airflow-supervisor": of_another,
}


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("daemon", quick)
    sizes, own = ([1, 20], 3) if quick else ([1, 10, 100, 1000], 10)
    found = {}
    for size in sizes:
        with report.attempt(f"{size} jobs of one supervisord"), folder() as place:
            found[size] = asyncio.run(shared(place, size))
    table = report.table(
        "One supervisord for all jobs: job N, ms",
        "N", "install", "start", "runner up to the first line", "status of all", "its CPU of that", "MB",
        "the others there after, s",
    )  # fmt: skip
    for size, figures in found.items():
        times = (milliseconds(figures[key]) for key in ("install", "start", "first line", "status"))
        cpu_ms = digits(figures["supervisord's part"] * 1000)
        table.rows.append((str(size), *times, cpu_ms, digits(figures["memory"] / MB), digits(figures["filled after"])))
    report.notes.append(f"{SAMPLES} jobs one after the other at each N.")
    alone = {}
    for name, kind in {
        "airflow-supervisor-jobs, a root for each": each_its_own,
        "airflow-supervisor": of_another,
    }.items():
        with report.attempt(f"{name}: a supervisord for each job"), folder() as place:
            alone[name] = asyncio.run(kind(place, own))
    add_alone(report, alone, jobs=own, found=found)
    report.figures = {"shared": found, "each its own": alone}
    return report


def add_alone(report: Report, alone: dict[str, Any], *, jobs: int, found: dict[int, Any]) -> None:
    """The report has what a supervisord for each job costs."""
    table = report.table(
        "One supervisord for each job, ms",
        "how", "jobs", "install", "supervisord answers", "start", "all its work", "MB of all", "MB for each",
    )  # fmt: skip
    for name, figures in alone.items():
        steps = [figures[step] for step in ("install", "daemon", "start")]
        total = [sum(each) for each in zip(*steps, strict=True)]
        times = map(milliseconds, (*steps, total))
        table.rows.append(
            (name, str(jobs), *times, digits(figures["memory"] / MB), digits(figures["memory"] / MB / jobs))
        )
    for last in sorted(found)[-1:]:
        each = digits(found[last]["memory"] / last / MB)
        report.notes.append(f"With {last} jobs the one supervisord takes {each} MB for each.")
    report.notes.append(
        "airflow-supervisor: by the functions that its tasks call, in a process that has imported them already. "
        "It looks once a second whether supervisord lives, and has a program run for `startsecs`, 1 by default."
    )


if __name__ == "__main__":
    main(measure)
