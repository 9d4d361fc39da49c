"""airflow-supervisor, from an environment of its own, on the Airflow that we have."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

from typing_extensions import Self

from bench.report import TREE
from tests.services.ssh import LOOPBACK

HOME = TREE / ".peers"
#: Where its commands are, and then supervisord's.
PATH = f"{HOME / 'bin'}:{Path(sys.executable).parent}"


class NotInstalled(Exception):
    """What is to be compared with is not there."""


class AirflowSupervisor:
    """Jobs of airflow-supervisor, each with a supervisord of its own; its own tasks set them up, and its sensors watch.

    :param place: an empty folder.
    :param check_s: its ``check_interval``; 5 is its default.
    :param way: from supervisord's port to the one that leads to it; the XML-RPC goes through no SSH.
    :param at_once: how many are set up side by side.
    :param forward_logs: its setting of that name, off by default; ``listener`` is told the lines then.
    """

    def __init__(
        self,
        place: Path,
        *,
        check_s: float = 5,
        way: Callable[[int], int] = lambda port: port,
        at_once: int = 8,
        forward_logs: bool = False,
    ) -> None:
        self.packages = packages()
        self.place, self.check_s, self.way, self.at_once = place, check_s, way, at_once
        self.forward_logs = forward_logs
        self.listener: Callable[[str], object] = len
        self.set_up: list[dict[str, float]] = []
        self._process: subprocess.Popen[str] | None = None
        self._ends: list[asyncio.Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def start(self, commands: Sequence[str]) -> None:
        """Have a job for each command."""
        self._process = self._run()
        ports = free_ports(len(commands))
        told = {
            "place": str(self.place),
            "commands": list(commands),
            "ports": [(port, self.way(port)) for port in ports],
            "check_s": self.check_s,
            "at_once": self.at_once,
            "forward_logs": self.forward_logs,
        }
        cast("IO[str]", self._process.stdin).write(json.dumps(told) + "\n")
        cast("IO[str]", self._process.stdin).flush()
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[list[dict[str, float]]] = loop.create_future()
        self._ends = [loop.create_future() for _ in commands]
        # Whoever gives up must not have to wait for its next line.
        threading.Thread(target=self._read, args=(loop, ready), daemon=True).start()
        self.set_up = await ready

    def _run(self) -> subprocess.Popen[str]:
        with (self.place / "sensors.err").open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "bench.peer_sensors", self.packages],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=TREE,
                env={**os.environ, "PATH": f"{PATH}:{os.environ['PATH']}"},
            )

    def triggers(self) -> list[Sensor]:
        """Return what watches each of the jobs; it has begun."""
        return [Sensor(number, end) for number, end in enumerate(self._ends)]

    def _read(self, loop: asyncio.AbstractEventLoop, ready: asyncio.Future[list[dict[str, float]]]) -> None:
        with suppress(RuntimeError):  # nobody listens any more
            for line in cast("IO[str]", cast("Any", self._process).stdout):
                said = json.loads(line)
                if "set_up" in said:
                    loop.call_soon_threadsafe(ready.set_result, said["set_up"])
                elif "line" in said:
                    self.listener(said["line"])
                else:
                    loop.call_soon_threadsafe(self._ends[said["job"]].set_result, None)
            loop.call_soon_threadsafe(self._over, ready)

    def _over(self, ready: asyncio.Future[Any]) -> None:
        words = (self.place / "sensors.err").read_text(errors="replace")
        for promise in (ready, *self._ends):
            if not promise.done():
                promise.set_exception(RuntimeError(f"airflow-supervisor's sensors have ended: {words[-2000:]}"))


def packages() -> str:
    """Return the folder of its packages; Airflow and all that we have too is ours.

    :raises NotInstalled: there is none.
    """
    for found in HOME.glob("lib/python3*/site-packages"):
        if (found / "airflow_supervisor").is_dir():
            return str(found)
    raise NotInstalled(f"airflow-supervisor is not in {HOME}")


def free_ports(count: int) -> list[int]:
    """Return so many ports that nobody listened on a moment ago, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class Sensor:
    """One of its sensors, with the face of a trigger: its end is the event."""

    def __init__(self, number: int, end: asyncio.Future[None]) -> None:
        self.job_id = f"job{number}"
        self._end = end

    async def run(self) -> AsyncIterator[Any]:
        """Yield once, at the end."""
        await self._end
        yield SimpleNamespace(payload={})
