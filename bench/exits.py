"""How soon the end of a program is known: from the moment it is killed to the event of the task's trigger."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from bench.distance import Distance
from bench.peer import AirflowSupervisor
from bench.report import Report, main, milliseconds, quantile, ratio, spread
from bench.stage import Ours, RemoteJobs, fired, folder, until
from tests.services.sshd import OpenSSH

#: Seconds each way.
WAYS_S = (0.0, 0.025)
#: Every trigger has connected and, as ours do, waited for as long as Airflow needs.
SETTLED_S = 6.0
#: The ends fall into so many seconds, at random: whoever looks every five seconds is met anywhere between two looks.
WITHIN_S = 5.0
PATIENCE_S = 60.0
#: When the trigger knows it, before it has told the host so and is done.
NOTICED = f"{Ours.name}, noticed"
DEFAULT_S, OFTEN_S = 5, 1
#: Goals, in seconds, and in times sooner than who looks so often.
MEDIAN_S, P99_S, TIMES = 0.025, 0.25, {DEFAULT_S: 50, OFTEN_S: 3}

Moments = dict[str, list[float]]
Kind = Callable[[Path, Distance], AbstractContextManager[Any]]


def over_ssh(make: Callable[..., Any]) -> Kind:
    """Return what lends such a system behind an SSH server at that distance."""

    @contextmanager
    def lend(place: Path, distance: Distance) -> Iterator[Any]:
        with OpenSSH(place / "s", options={"MaxStartups": "1000"}) as server:
            port = distance.to(server.port)
            yield make(place, server, port=None if port == server.port else port)

    return lend


def looking(seconds: int) -> dict[str, Kind]:
    """Return the others, looking so often."""
    often = f"every {seconds} s" + (" (default)" if seconds == DEFAULT_S else "")
    return {
        f"SSHRemoteJobOperator, {often}": over_ssh(lambda *place, **way: RemoteJobs(*place, poll_s=seconds, **way)),
        f"airflow-supervisor, {often}": lambda place, distance: AirflowSupervisor(
            place, check_s=seconds, way=distance.to
        ),
    }


OURS: dict[str, Kind] = {Ours.name: over_ssh(Ours)}
#: The others measure in seconds, and so do not disturb each other.
OTHERS = {**looking(DEFAULT_S), **looking(OFTEN_S)}


def shift(kinds: dict[str, Kind], *, jobs: int, way_s: float, report: Report) -> Moments:
    """Return for each system the seconds from its programs' ends to the events, all systems side by side."""
    with ExitStack() as stack:
        distance = stack.enter_context(Distance(way_s))
        systems = {}
        for name, kind in kinds.items():
            with report.attempt(name):
                place = stack.enter_context(folder())
                system = stack.enter_context(kind(place, distance))
                systems[name] = (system, [place / f"{number}.pid" for number in range(jobs)])
        return asyncio.run(side_by_side(systems, report=report))


async def side_by_side(systems: dict[str, tuple[Any, list[Path]]], *, report: Report) -> Moments:
    """Return what is found of each system, once all of them watch all of their jobs."""
    watching = {}
    for name, (system, pids) in systems.items():
        with report.attempt(name):
            await system.start([f"sh -c 'echo started; echo $$ > {path}; exec sleep 600'" for path in pids])
            await until(partial(have_begun, pids), "the programs' start")
            watching[name] = [asyncio.create_task(ending(trigger)) for trigger in system.triggers()]
    await asyncio.sleep(SETTLED_S)
    found: Moments = {}

    async def one(name: str) -> None:
        with report.attempt(name):
            found.update(await asyncio.wait_for(delays_s(name, watching[name], systems[name][1]), PATIENCE_S))

    await asyncio.gather(*map(one, watching))
    return found


def have_begun(pids: list[Path]) -> bool:
    """Return whether each program has written its pid."""
    return all(path.exists() and path.read_text().strip() for path in pids)


async def delays_s(name: str, told: list[asyncio.Task[Any]], pids: list[Path]) -> Moments:
    """Return the seconds from each program's end to the trigger's event, and to the notice where that is told."""
    ends = await asyncio.gather(*map(end, pids))
    found = {job: (event_at, noticed_at) for job, event_at, noticed_at in await asyncio.gather(*told)}
    moments = [(ended, *found[f"job{number}"]) for number, ended in enumerate(ends)]
    events = {name: [event_at - ended for ended, event_at, _ in moments]}
    noticed = [noticed_at - ended for ended, _, noticed_at in moments if noticed_at is not None]
    return {**events, NOTICED: noticed} if noticed else events


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
    jobs = {"ours": 5, "others": 3} if quick else {"ours": 60, "others": 25}
    runs = 1 if quick else 2
    found: dict[tuple[float, str], list[list[float]]] = {}
    for way_s in WAYS_S:
        for _ in range(runs):
            for kinds, number in ((OURS, jobs["ours"]), (OTHERS, jobs["others"])):
                for name, values in shift(kinds, jobs=number, way_s=way_s, report=report).items():
                    found.setdefault((way_s, name), []).append(values)
    for way_s in WAYS_S:
        of_way = {name: values for (way, name), values in found.items() if way == way_s}
        add_tables(report, of_way, way_s=way_s)
    ends = f"{jobs['ours']} ends of ours and {jobs['others']} of each of the others"
    report.notes.append(f"{runs} runs, each of {ends}, one by one at random moments within {WITHIN_S:.0f} s.")
    report.figures = {f"{name}, way {way_s} s": values for (way_s, name), values in found.items()}
    return report


def add_tables(report: Report, found: dict[str, list[list[float]]], *, way_s: float) -> None:
    """The report has what was found at this distance, and whether it is as good as it should be."""
    where = f"a round trip of {way_s * 2000:.0f} ms" if way_s else "loopback"
    columns = ("system", "median (all)", "p99", "medians of the runs", "times ours")
    table = report.table(f"From a program's end to the trigger's event, ms: {where}", *columns)
    ours = together(found.get(Ours.name, []))
    for name in (NOTICED, *OURS, *OTHERS):
        values = together(found.get(name, []))
        medians = [quantile(run, 0.5) for run in found.get(name, [])]
        p99 = spread([quantile(values, 0.99) * 1000] if values else [])
        table.rows.append((name, milliseconds(values), p99, milliseconds(medians), ratio(values, ours)))
    add_goals(report, {name: values for name, runs in found.items() if (values := together(runs))}, where, way_s=way_s)


def add_goals(report: Report, found: dict[str, list[float]], where: str, *, way_s: float) -> None:
    """The report says of each goal whether it is met."""
    limits = {"median": (0.5, MEDIAN_S + 2 * way_s), "p99": (0.99, P99_S)}
    for of, name in {"noticed": NOTICED, "the event": Ours.name}.items():
        for what, (share, most_s) in limits.items() if name in found else ():
            ms, most_ms = quantile(found[name], share) * 1000, most_s * 1000
            report.goal(f"{of}, {where}: {what}", f"at most {most_ms:.0f} ms", ms, most_ms, unit="ms")
    for seconds, times in TIMES.items():
        for name in looking(seconds):
            if {name, Ours.name} <= found.keys():
                sooner = quantile(found[name], 0.5) / quantile(found[Ours.name], 0.5)
                what = f"the event, {where}: sooner than {name}"
                report.goal(what, f"at least {times} times", sooner, times, unit="times", at_least=True)


if __name__ == "__main__":
    main(measure)
