"""How soon the end of a program is known: from the moment it is killed to the event of the task's trigger."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from bench.report import Report, main, milliseconds, quantile, ratio, spread
from bench.stage import Ours, RemoteJobs, delayed, fired, folder, until
from tests.services.sshd import OpenSSH

#: Seconds each way.
DELAYS_S = (0.0, 0.025)
SYSTEMS: dict[str, Any] = {
    "airflow-supervisor-jobs": Ours,
    "SSHRemoteJobOperator, poll 5 s (default)": RemoteJobs,
    "SSHRemoteJobOperator, poll 1 s": lambda *place, **way: RemoteJobs(*place, poll_s=1, **way),
}
#: When the trigger knows it, before it has told the host so and is done.
NOTICED = f"{Ours.name}, noticed"
#: Every trigger has connected and, as ours do, waited for as long as Airflow needs.
SETTLED_S = 6.0
#: The ends fall into so many seconds, at random: whoever looks every five seconds is met anywhere between two looks.
WITHIN_S = 5.0


async def delays_s(kind: Any, *, jobs: int, way_s: float) -> tuple[list[float], list[float]]:
    """Return for each of so many jobs the seconds from its program's end to the trigger's event, and to the notice."""
    with (
        folder() as place,
        OpenSSH(place / "s", options={"MaxStartups": "1000"}) as server,
        delayed(server.port, seconds=way_s) as port,
    ):
        system = kind(place, server, port=port if way_s else None)
        pids = [place / f"{number}.pid" for number in range(jobs)]
        await system.start([f"sh -c 'echo started; echo $$ > {path}; exec sleep 600'" for path in pids])
        await until(lambda: all(path.exists() and path.read_text().strip() for path in pids), "the programs' start")
        told = [asyncio.create_task(ending(trigger)) for trigger in system.triggers()]
        await asyncio.sleep(SETTLED_S)
        ends = await asyncio.gather(*(end(path) for path in pids))
        found = {job: (event_at, noticed_at) for job, event_at, noticed_at in await asyncio.gather(*told)}
    moments = [(ended, *found[f"job{number}"]) for number, ended in enumerate(ends)]
    noticed = [noticed_at - ended for ended, _, noticed_at in moments if noticed_at is not None]
    return [event_at - ended for ended, event_at, _ in moments], noticed


async def ending(trigger: Any) -> tuple[str, float, float | None]:
    """Return which job it was, when the trigger's event came, and since when the trigger knew, if it says so."""
    event = await fired(trigger)
    at = time.time()
    if not isinstance(trigger, SupervisorProgramsTrigger):
        return trigger.job_id, at, None
    (record,) = event.payload["records"].values()
    return trigger.pin["job"], at, record["noticed_at"]


async def end(path: Path) -> float:
    """Kill the program at a random moment, and return when."""
    await asyncio.sleep(random.uniform(0, WITHIN_S))  # noqa: S311 -- nobody guards it
    return kill(path)


def kill(path: Path) -> float:
    """Kill the program whose pid is there, and return when."""
    pid, now = int(path.read_text()), time.time()
    os.kill(pid, signal.SIGKILL)
    return now


def together(runs: list[list[float]]) -> list[float]:
    """Return the values of all runs."""
    return [value for run in runs for value in run]


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("exits", quick)
    jobs, runs = (5, 1) if quick else (25, 3)
    found: dict[tuple[float, str], list[list[float]]] = {}
    for way_s in DELAYS_S:
        for _ in range(runs):
            for name, kind in SYSTEMS.items():
                events, noticed = asyncio.run(delays_s(kind, jobs=jobs, way_s=way_s))
                found.setdefault((way_s, name), []).append(events)
                if noticed:
                    found.setdefault((way_s, NOTICED), []).append(noticed)
    for way_s in DELAYS_S:
        where = f"round trip {way_s * 2000:.0f} ms more than loopback" if way_s else "loopback"
        columns = ("system", "median (all)", "p99", "medians of the runs", "times ours")
        table = report.table(f"From a program's end to the trigger's event, ms: {where}", *columns)
        ours = together(found[way_s, Ours.name])
        for name in (NOTICED, *SYSTEMS):
            values = together(found[way_s, name])
            medians = [quantile(run, 0.5) for run in found[way_s, name]]
            p99 = spread([quantile(values, 0.99) * 1000])
            table.rows.append((name, milliseconds(values), p99, milliseconds(medians), ratio(values, ours)))
    report.notes.append(
        f"{runs} runs with {jobs} jobs each, killed one by one at random moments within {WITHIN_S:.0f} s."
    )
    report.figures = {f"{name}, way {way_s} s": values for (way_s, name), values in found.items()}
    return report


if __name__ == "__main__":
    main(measure)
