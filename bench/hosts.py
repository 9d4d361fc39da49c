"""What one triggerer needs for many hosts: time to connect, processor time, memory, and how soon an end is known."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import IO, Any, cast

from airflow_supervisor_jobs.config import make_job, render_spec
from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from bench.processes import cpu_s, pss_bytes
from bench.report import Report, digits, main, milliseconds, quantile, spread
from bench.stage import folder, pin_of
from bench.stand_in import job_name, root_name
from bench.triggerer import Triggerer, triggerer

MB = 1024 * 1024
#: Programs that end, one after the other.
ENDS = 40


def triggers(host: dict[str, Any], hosts: int, jobs: int) -> list[SupervisorProgramsTrigger]:
    """Return what watches every job of every host."""
    task = {"dag_id": "bench", "run_id": "1", "task_id": "watch_programs", "map_index": -1}
    found = []
    for number in range(hosts):
        of_host = {"name": f"host{number}", "root": root_name(number), **host}
        for name in map(job_name, range(jobs)):
            job = make_job({"host": of_host, "command": "true"}, name=name)
            pin = pin_of(job, render_spec(job)).to_dict()
            # By it an event tells of which host it is.
            found.append(SupervisorProgramsTrigger(pin=pin, task={**task, "map_index": number}))
    return found


def late_s(watcher: Triggerer, server: subprocess.Popen[str], *, hosts: int, jobs: int) -> list[float]:
    """Return the seconds from the end of a program to the trigger's event, of several."""
    late = []
    everywhere = [(host, job) for host in range(hosts) for job in range(jobs)]
    for host, job in random.sample(everywhere, min(ENDS, len(everywhere))):
        cast("IO[str]", server.stdin).write(f"{host} {job}\n")
        cast("IO[str]", server.stdin).flush()
        ended = json.loads(cast("IO[str]", server.stdout).readline())
        event = watcher.hear()
        if (event["of"], event["job"]) != (host, job_name(job)):
            raise RuntimeError(f"job {job} of host {host} was ended, and this event came: {event}")
        late.append(event["at"] - ended["at"])
    return late


def measure_one(hosts: int, jobs: int, *, window_s: float) -> dict[str, Any]:
    """Return what so many hosts with so many jobs each cost."""
    with folder() as place:
        command = [sys.executable, "-W", "ignore", "-m", "bench.stand_in", str(place), str(hosts), str(jobs)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            host = json.loads(cast("IO[str]", server.stdout).readline())
            with triggerer(triggers(host, hosts, jobs)) as watcher:
                state = watcher.hear()
                connecting = cpu_s([watcher.pid])
                windows = []
                for _ in range(2):
                    before = cpu_s([watcher.pid])
                    time.sleep(window_s)
                    windows.append((cpu_s([watcher.pid]) - before) * 60 / window_s)
                memory = pss_bytes([watcher.pid])
                late = late_s(watcher, server, hosts=hosts, jobs=jobs)
            server.communicate()
    return {**state, "connecting_cpu_s": connecting, "cpu_s_a_minute": windows, "memory": memory, "late_s": late}


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("hosts", quick)
    sizes = [(1, 1), (5, 2), (20, 1)] if quick else [(1, 1), (10, 1), (100, 1), (100, 10), (1000, 1)]
    columns = (
        "hosts",
        "jobs on each",
        "all watched after, s",
        "its CPU, s",
        "CPU s a minute",
        "MB",
        "MB more for each host",
    )
    table = report.table("One triggerer, many hosts", *columns, "an end is known after, ms", "p99, ms")
    found = {}
    for size in sizes:
        with report.attempt(f"{size[0]} hosts with {size[1]} jobs each"):
            found[size] = measure_one(*size, window_s=3.0 if quick else 10.0)
    if sizes[0] not in found:
        return report
    alone = found[sizes[0]]["memory"]
    for (hosts, jobs), cost in found.items():
        after = digits(cost["after"]) if cost["watched"] == hosts * jobs else f"{cost['watched']} of {hosts * jobs}"
        more = digits((cost["memory"] - alone) / MB / (hosts - 1)) if hosts > 1 else "–"
        costs = (digits(cost["connecting_cpu_s"]), spread(cost["cpu_s_a_minute"]), digits(cost["memory"] / MB))
        cells = (after, *costs, more)
        p99 = digits(quantile(cost["late_s"], 0.99) * 1000)
        table.rows.append((str(hosts), str(jobs), *cells, milliseconds(cost["late_s"]), p99))
    imports = digits(found[sizes[0]]["connecting_cpu_s"])
    report.notes.append(
        f"The CPU until all are watched has {imports} s of imports in it. "
        "The server that plays the hosts takes its time from the same processors."
    )
    report.figures = {f"{hosts} x {jobs}": cost for (hosts, jobs), cost in found.items()}
    return report


if __name__ == "__main__":
    main(measure)
