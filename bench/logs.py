"""How fast a program's lines come to its task's logger, and how late each of them."""

from __future__ import annotations

import asyncio
import random
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.peer import AirflowSupervisor
from bench.report import Report, digits, main, milliseconds, quantile, ratio, spread
from bench.stage import Ours, RemoteJobs, cancel, fired, folder, until
from tests.services.sshd import OpenSSH

MB = 1_000_000
#: A program that says everything at once and waits.
FLOOD = """
import sys, time
line = b"%012d " + b"x" * 87 + b"\\n"
while not __import__("os").path.exists({go!r}): time.sleep(0.01)
out = sys.stdout.buffer
for start in range(0, {lines}, 1000):
    out.write(b"".join(line % number for number in range(start, start + 1000)))
out.flush()
time.sleep(600)
"""
LINE_BYTES = 101
#: A program that says the time so many times a second, by tens of milliseconds where that is often.
TICKS = """
import sys, time
rate, seconds = {rate}, {seconds}
while not __import__("os").path.exists({go!r}): time.sleep(0.01)
began = time.time(); said = 0
while said < rate * seconds:
    due = min(rate * seconds, int((time.time() - began) * rate) + 1)
    for _ in range(said, due):
        sys.stdout.write("tick %.6f\\n" % time.time())
    sys.stdout.flush()
    said = due
    time.sleep(min(1 / rate, 0.01))
time.sleep(600)
"""
#: Whoever reads by bytes may have cut a line in two.
_TICK = re.compile(r"tick \d{10}\.\d{6}")


def over_ssh(make: Callable[..., Any]) -> Callable[[Path], AbstractContextManager[Any]]:
    """Return what lends such a system behind an SSH server."""

    @contextmanager
    def lend(place: Path) -> Iterator[Any]:
        with OpenSSH(place / "s") as server:
            yield make(place, server)

    return lend


SYSTEMS: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    Ours.name: over_ssh(Ours),
    "SSHRemoteJobOperator (default)": over_ssh(RemoteJobs),
    "airflow-supervisor, forward_logs": lambda place: AirflowSupervisor(place, forward_logs=True),
}


class Listener:
    """A task's logger that keeps what it is told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.bytes = 0

    def info(self, message: str, *arguments: object) -> None:
        """Take a line, or a piece of many."""
        text = str(arguments[-1]) if arguments else message
        if "tick " in text or text.startswith("0"):
            self.told.append((time.time(), text))
            self.bytes += len(text) + 1

    def warning(self, *_: object) -> None:
        """Take a warning."""

    exception = warning

    def delays_s(self) -> list[float]:
        """Return how late each line was."""
        late = []
        for at, text in self.told:
            late += [at - float(line[5:]) for line in text.splitlines() if _TICK.fullmatch(line)]
        return late


async def listen(kind: Any, script: str, *, enough: int, limit_s: float, **words: Any) -> tuple[Listener, float]:
    """Return what the logger was told until it was ``enough`` bytes or the time was over, and when it began."""
    listener = Listener()
    with folder() as place, kind(place) as system:
        go = place / "go"
        (place / "said.py").write_text(script.format(go=str(go), **words))
        system.listener = listener.info
        await system.start([shlex.join([sys.executable, "-S", str(place / "said.py")])])
        (trigger,) = system.triggers()
        trigger._log = listener
        watching = asyncio.create_task(fired(trigger))
        # Connected; and for one who looks at an interval, some moment of it.
        await asyncio.sleep(2 + random.uniform(0, 3))  # noqa: S311 -- nobody guards it
        began = began_with(go)
        try:
            await until(lambda: listener.bytes >= enough, "all lines", within=limit_s)
        except TimeoutError:
            pass
        finally:
            await cancel([watching])
    return listener, began


def began_with(go: Path) -> float:
    """Let the program begin, and return when."""
    go.touch()
    return time.time()


def throughput(kind: Any, *, lines: int, limit_s: float) -> float:
    """Return bytes a second, from the program's beginning to the last line, or to the limit."""
    size = lines * (LINE_BYTES - 1)
    heard, began = asyncio.run(listen(kind, FLOOD, enough=size, limit_s=limit_s, lines=lines))
    over = heard.told[-1][0] if heard.bytes >= size else began + limit_s
    return heard.bytes / (over - began)


def delays(kind: Any, *, rate: int, seconds: int) -> tuple[list[float], int]:
    """Return how late each line was that came, and how many did not come before 6 s after the last."""
    line = len("tick 1234567890.123456\n")
    told = asyncio.run(
        listen(kind, TICKS, enough=rate * seconds * line, limit_s=seconds + 6, rate=rate, seconds=seconds)
    )
    late = told[0].delays_s()
    return late, rate * seconds - len(late)


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("logs", quick)
    runs, lines, limit_s, seconds = (1, 20_000, 7, 4) if quick else (2, 300_000, 12, 6)
    table = report.table(
        f"A program that writes {digits(lines * LINE_BYTES / MB)} MB at once, MB/s", "system", "MB/s", "ours, times"
    )
    speeds: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for _ in range(runs):
        for name, kind in SYSTEMS.items():
            with report.attempt(f"the throughput of {name}"):
                speeds[name].append(throughput(kind, lines=lines, limit_s=limit_s))
    for name, values in speeds.items():
        table.rows.append((name, spread([value / MB for value in values]), ratio(speeds[Ours.name], values)))
    report.figures["bytes a second"] = speeds
    columns = ("system", "lines a second", "lines", "not yet there 6 s after the last", "median (all), ms", "p99, ms")
    table = report.table("From a line's writing to the logger", *columns)
    for rate in (1, 100, 10_000):
        for name, kind in SYSTEMS.items():
            with report.attempt(f"{rate} lines a second of {name}"):
                late, missing = delays(kind, rate=rate, seconds=seconds)
                p99 = digits(quantile(late, 0.99) * 1000) if late else "–"
                table.rows.append((name, str(rate), str(rate * seconds), str(missing), milliseconds(late), p99))
                report.figures[f"{name}, {rate} a second"] = late[:: max(1, len(late) // 1000)]
    report.notes.append(
        f"Whoever is not done is ended after {limit_s} s, and what it has logged by then counts. "
        "The logger is one that counts: Airflow's own has to write the lines yet."
    )
    return report


if __name__ == "__main__":
    main(measure)
