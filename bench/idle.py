"""What N jobs that do nothing cost on one host: connections, refusals, processor time, memory."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from bench.processes import children, command, cpu_s, pss_bytes, tree
from bench.report import Report, Table, digits, main, ratio, spread
from bench.stage import Ours, RemoteJobs, folder
from bench.triggerer import Triggerer, triggerer
from tests.services.processes import processes_of
from tests.services.sshd import OpenSSH

#: What of the host's side is told apart.
PARTS = ("triggerer", "sshd", "agent", "supervisord", "runners")
SLOW_LOGIN_S = 0.1
SETTLED_S = 2.5
MB = 1024 * 1024
#: Commands that say when they wait.
WAITING = {
    "Python with nothing imported (`-I -S -E`)": [
        "python3",
        "-I",
        "-S",
        "-E",
        "-c",
        "import sys; print(flush=True); sys.stdin.readline()",
    ],
    "`sh`": ["sh", "-c", "echo; read x"],
}
#: A process that forks the others; they share what none of them writes to.
FORKED = "Python with nothing imported, forked from one that waits, too"
FORKING = """
import os, sys
for _ in range({number}):
    reading, writing = os.pipe()
    if not os.fork():
        os.close(writing)
        print(os.getpid(), flush=True)
        os.read(reading, 1)
        os._exit(0)
sys.stdin.readline()
"""
SLOW = "slow login: "
#: Goals.
TIMES_LESS, AT_JOBS, MB_EACH = 100, 200, 5


def parts(system: Any, server: OpenSSH, watcher: Triggerer) -> dict[str, list[int]]:
    """Return the processes of each part."""
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    found["triggerer"] = tree(watcher.pid)
    for pid in tree(listener(server)):
        found["agent" if command(pid).startswith("python3 -I -S") else "sshd"].append(pid)
    if isinstance(system, Ours):
        supervisord = system.supervisord()
        found["supervisord"] = [supervisord]
        found["runners"] = [pid for pid in tree(supervisord)[1:] if not command(pid).startswith("sleep")]
    else:
        wrappers = processes_of(system.place)
        found["runners"] = [pid for pid, words in wrappers.items() if not words.startswith("sleep")]
    return found


def watch(system: Any, server: OpenSSH, *, windows: int, window_s: float) -> dict[str, Any]:
    """Return what it costs while nothing happens, from the start of the triggers on."""
    refused = refusals(server)
    with triggerer(system.triggers()) as watcher:
        state = watcher.hear()
        # What the start has left to do is done.
        time.sleep(SETTLED_S)
        of_parts = parts(system, server, watcher)
        cpu: dict[str, list[float]] = {part: [] for part in PARTS}
        for _ in range(windows):
            before = {part: cpu_s(of_parts[part]) for part in PARTS}
            began = time.monotonic()
            time.sleep(window_s)
            minutes = (time.monotonic() - began) / 60
            for part, pids in of_parts.items():
                cpu[part].append((cpu_s(pids) - before[part]) / minutes)
        cpu["all"] = [sum(of_window) for of_window in zip(*cpu.values(), strict=True)]
        return {
            **state,
            "connections": len(server.connections()),
            "refused": refusals(server) - refused,
            "cpu_s_a_minute": cpu,
            "memory_bytes": {part: pss_bytes(pids) for part, pids in of_parts.items()},
        }


def listener(server: OpenSSH) -> int:
    """Return the pid of the server itself."""
    config = str(server.folder / "sshd_config")
    return next(pid for pids in children().values() for pid in pids if config in command(pid))


def refusals(server: OpenSSH) -> int:
    """Return how many connections the server has refused so far."""
    return server.log.read_text(errors="replace").count("past MaxStartups")


@contextmanager
def host(kind: Callable[..., Any], *, slow: bool) -> Iterator[tuple[Any, OpenSSH]]:
    """Lend a system on a host whose SSH server has its default limits."""
    with folder() as place, OpenSSH(place / "s") as server:
        if slow:
            (server.home / ".bashrc").write_text(slow_login(place))
        yield kind(place, server), server


def slow_login(place: Path) -> str:
    """Return a start-up file that takes :data:`SLOW_LOGIN_S` of a processor, whatever the processor."""
    script = place / "probe.sh"
    rounds = 20_000
    words = "i=0; while [ $i -lt {} ]; do i=$((i+1)); done\n"
    script.write_text(words.format(rounds))
    began = time.monotonic()
    subprocess.run(["/bin/bash", str(script)], check=True)
    return words.format(int(rounds * SLOW_LOGIN_S / (time.monotonic() - began)))


def at_sizes(
    kind: Callable[..., Any], sizes: list[int], report: Report, *, slow: bool = False, **windows: Any
) -> dict[int, Any]:
    """Return what each number of jobs costs, each on a host of its own."""
    found = {}
    for size in sizes:
        what = f"{size} jobs of {kind.__name__}{', slow login' if slow else ''}"
        with report.attempt(what), host(kind, slow=slow) as (system, server):
            asyncio.run(system.start(["sleep 3600"] * size))
            found[size] = watch(system, server, **windows)
    return found


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("idle", quick)
    windows = {"windows": 1, "window_s": 5.0} if quick else {"windows": 2, "window_s": 10.0}
    # The more programs there are, the less often the agent asks supervisord about them: a window has to hold that, too.
    long = windows if quick else {"windows": 1, "window_s": 60.0}
    ours, theirs, slow = ([5, 20], [5, 20], [5]) if quick else ([50, 200, 500, 1000], [50, 200], [200])
    found = {
        Ours.name: at_sizes(Ours, ours, report, **long),
        "SSHRemoteJobOperator": at_sizes(RemoteJobs, theirs, report, **windows),
        SLOW + Ours.name: at_sizes(Ours, slow, report, slow=True, **long),
        SLOW + "SSHRemoteJobOperator": at_sizes(RemoteJobs, slow, report, slow=True, **windows),
    }
    connecting = report.table(
        "Idle jobs: connecting", "system", "jobs", "connections", "refused", "all watched after, s", "ended falsely"
    )
    costs = report.table("Idle jobs: processor seconds a minute", "system", "jobs", *PARTS, "all", "times ours")
    memory = report.table(
        "Idle jobs: memory, MB", "system", "jobs", *PARTS, "on the host for each program", "in the triggerer for each"
    )
    for name, sizes in found.items():
        for size, cost in sizes.items():
            add_rows(connecting, costs, memory, name=name, size=size, cost=cost, found=found)
    add_goals(report, found)
    floors = {name: floor(words) for name, words in WAITING.items()}
    floors[FORKED] = forked()
    floor_table = report.table("The floor of a runner: one of twenty processes that only wait, MB", "what", "MB")
    floor_table.rows += [(name, digits(size / MB)) for name, size in floors.items()]
    window = f"{windows['windows']} windows of {windows['window_s']:.0f} s; of ours, one of {long['window_s']:.0f} s"
    report.notes.append(f"Processor time: median of {window}. The runners of SSHRemoteJobOperator are its shells.")
    report.notes.append("The programs themselves (`sleep`) are not counted.")
    report.notes.append(
        "airflow-supervisor keeps a worker's slot and processes for each job: see *a run, from the trigger to the end*."
    )
    report.figures = {"systems": found, "floors": floors}
    return report


def add_goals(report: Report, found: dict[str, dict[int, Any]]) -> None:
    """The report says of each goal whether it is met."""
    for prefix in ("", SLOW):
        ours, theirs = found[prefix + Ours.name], found[prefix + "SSHRemoteJobOperator"]
        for size, cost in ours.items():
            jobs = f"{prefix}{size} jobs"
            report.goal(f"{jobs}: connections", "1", cost["connections"], 1, unit="")
            report.goal(f"{jobs}: refused", "0", cost["refused"], 0, unit="")
            each = on_host(cost) / MB / size
            report.goal(f"{jobs}: memory on the host for each", f"at most {MB_EACH} MB", each, MB_EACH, unit="MB")
            if size in theirs and size >= AT_JOBS:
                less = median_cpu_s(theirs[size]) / median_cpu_s(cost)
                wanted = f"at least {TIMES_LESS} times less"
                report.goal(f"{jobs}: all CPU", wanted, less, TIMES_LESS, unit="times", at_least=True)


def median_cpu_s(cost: Any) -> float:
    """Return the processor seconds a minute of all parts."""
    return statistics.median(cost["cpu_s_a_minute"]["all"])


def on_host(cost: Any) -> int:
    """Return the bytes of all that is not in the triggerer."""
    return sum(size for part, size in cost["memory_bytes"].items() if part != "triggerer")


def forked() -> float:
    """Return the bytes of one of twenty processes that were forked from one."""
    number = 20
    words = ["python3", "-I", "-S", "-E", "-c", FORKING.format(number=number)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pids = [int(cast("IO[str]", process.stdout).readline()) for _ in range(number)]
        used = pss_bytes(pids)
        # None of them hears of the other end of its pipe, which the later ones hold open.
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    return used / number


def floor(words: list[str]) -> float:
    """Return the bytes of one of twenty such processes."""
    number = 20
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(number)]
    for process in processes:
        cast("IO[bytes]", process.stdout).readline()
    used = pss_bytes(process.pid for process in processes)
    for process in processes:
        process.communicate()
    return used / number


def add_rows(connecting: Table, costs: Table, memory: Table, *, name: str, size: int, cost: Any, found: Any) -> None:
    """The tables have a row for this number of jobs."""
    row = (name, str(size))
    after = digits(cost["after"]) if cost["watched"] == size else f"{cost['watched']} after {digits(cost['after'])}"
    connecting.rows.append((*row, str(cost["connections"]), str(cost["refused"]), after, str(cost["fired"])))
    cpu, used = cost["cpu_s_a_minute"], cost["memory_bytes"]
    own = found[(SLOW if name.startswith(SLOW) else "") + Ours.name].get(size)
    beside = ratio(cpu["all"], own["cpu_s_a_minute"]["all"]) if own else "–"
    costs.rows.append((*row, *(digits(statistics.median(cpu[part])) for part in PARTS), spread(cpu["all"]), beside))
    each = (digits(on_host(cost) / MB / size), digits(used["triggerer"] / MB / size))
    memory.rows.append((*row, *(digits(used[part] / MB) for part in PARTS), *each))


if __name__ == "__main__":
    main(measure)
