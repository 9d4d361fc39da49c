"""Kill switches: one for each process that has a hand in a job, by pid and start, so that no other is ever hit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from airflow_supervisor_jobs.hosts.channel import LOADER_STUB
from tests.services.host import wait_for
from tests.services.ssh import children_of
from tests.services.sshd import OpenSSH


@dataclass(frozen=True)
class Switch:
    """One very process.

    :param ticks: when it started, in clock ticks since boot.
    """

    pid: int
    ticks: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the switch of a process that lives.

        :raises OSError: it does not.
        """
        return cls(pid, int(_stat(pid)[19]))

    def is_alive(self) -> bool:
        """Return whether it runs, or is stopped; a zombie is dead."""
        with contextlib.suppress(OSError):
            stat = _stat(self.pid)
            return stat[0] not in "ZX" and int(stat[19]) == self.ticks
        return False

    def send(self, number: signal.Signals = signal.SIGKILL) -> float:
        """Send it a signal, unless it is gone; return when, in seconds since the epoch."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        return time.time()

    async def gone(self) -> None:
        """Return when it does not live any more."""
        await wait_for(lambda: not self.is_alive(), f"the end of process {self.pid}")

    async def kill(self) -> float:
        """Kill it (-9) and wait for its end; return when it was sent, in seconds since the epoch."""
        at = self.send()
        await self.gone()
        return at


def supervisord(root: Path) -> Switch:
    """Return the switch of the root's supervisord."""
    return Switch.of(int((root / "supervisord.pid").read_text()))


def runner(root: Path, process: str = "p", job: str = "job") -> Switch:
    """Return the switch of a process's runner."""
    return Switch.of(_run(root, process, job)["runner_pid"])


def program(root: Path, process: str = "p", job: str = "job") -> Switch:
    """Return the switch of the user's program itself."""
    return Switch.of(_run(root, process, job)["pid"])


def sessions(server: OpenSSH) -> list[Switch]:
    """Return the switches of all processes of sshd's that serve a connection, its child of less rights last."""
    return [
        Switch.of(pid)
        for connection in server.connections()
        for pid in (connection, *children_of(connection))
        if _word(pid).startswith("sshd")
    ]


def agents(server: OpenSSH) -> list[Switch]:
    """Return the switches of the agents that run behind the server's connections now."""
    return [
        Switch.of(pid)
        for connection in server.connections()
        for pid in _descendants(connection)
        if LOADER_STUB.encode() in _read(pid, "cmdline")
    ]


def _descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from _descendants(child)


def _run(root: Path, process: str, job: str) -> dict[str, int]:
    run: dict[str, int] = json.loads((root / "jobs" / job / process / "run.json").read_text())
    return run


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _word(pid: int) -> str:
    return _read(pid, "comm").decode(errors="replace")


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
