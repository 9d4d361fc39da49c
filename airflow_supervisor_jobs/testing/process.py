"""A process of the in-memory host: it does what its script, or the test, says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_supervisor_jobs.testing.log import MemoryLog

STREAMS = ("stdout", "stderr")
SIGTERM = 15


@dataclass(frozen=True)
class Script:
    """What a program does each time it is started.

    :param lines: what it writes to its standard output; bytes are written as they are.
    :param errors: what it writes to its standard error.
    :param exit_code: what it then exits with.
    :param signal: the signal that ends it instead.
    :param holds: it runs until it is stopped, or until the test calls :meth:`MemoryProcess.end`.
    """

    lines: tuple[str | bytes, ...] = ()
    errors: tuple[str | bytes, ...] = ()
    exit_code: int = 0
    signal: int | None = None
    holds: bool = False


class MemoryProcess:
    """One process; its script runs as soon as the event loop turns.

    :param changed: called after each change.
    """

    def __init__(self, job: str, spec: dict[str, Any], script: Script, changed: Callable[[], None]) -> None:
        self.job = job
        self.spec = spec
        self.script = script
        self.name: str = spec["process"]
        self.phase = "new"
        self.generation = 0
        self.owner: dict[str, str] | None = None
        self.cursors: dict[str, dict[str, Any]] = {}
        self.logs = {stream: MemoryLog(stream) for stream in STREAMS}
        self._changed = changed
        self._times: dict[str, float | None] = {"started_at": None, "ended_at": None}
        self._record: dict[str, Any] | None = None
        self._starts: dict[str, int] = {}

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self.phase == "running"

    @property
    def is_reported(self) -> bool:
        """Whether some consumer has reported the end of this generation."""
        return any(cursor["reported"] >= self.generation for cursor in self.cursors.values())

    @property
    def stopped_for(self) -> dict[str, str] | None:
        """Whose order the end of this generation was, if it was an order."""
        stop = (self._record or {}).get("stop") or {}
        return stop.get("owner")

    @property
    def pid(self) -> int:
        """What stands for its pid; another one in each generation."""
        return 1000 + self.generation

    def start(self, *, owner: dict[str, str] | None, time: float) -> None:
        """Let it run, a new generation of it."""
        self.generation += 1
        self.phase, self.owner, self._record = "running", owner, None
        self._times = {"started_at": time, "ended_at": None}
        self._starts = {stream: log.end for stream, log in self.logs.items()}
        self._changed()

    def perform(self, generation: int, *, time: float) -> None:
        """Do what the script says, unless the generation that it was meant for is over."""
        if not self.is_running or generation != self.generation:
            return
        for stream, lines in (("stdout", self.script.lines), ("stderr", self.script.errors)):
            for line in lines:
                self.write(line if isinstance(line, bytes) else f"{line}\n", stream=stream, time=time)
        if not self.script.holds:
            self.end(exit_code=self.script.exit_code, signal=self.script.signal, time=time)

    def write(self, data: bytes | str, *, time: float, stream: str = "stdout") -> None:
        """Have written ``data``."""
        raw = data.encode() if isinstance(data, str) else data
        self.logs[stream].write(raw, time=time, generation=self.generation)
        self._changed()

    def end(
        self, *, time: float, exit_code: int | None = 0, signal: int | None = None, stop: dict[str, Any] | None = None
    ) -> None:
        """Have ended, by itself or by a stop."""
        self.phase = "ended"
        self._times["ended_at"] = time
        reason = "stopped" if stop else "exited" if signal is None else "signalled"
        self._record = {
            "format": 1,
            "job": self.job,
            "process": self.name,
            "generation": self.generation,
            "owner": self.owner,
            "pid": self.pid,
            "boot_id": "memory",
            **self._times,
            "seconds": time - (self._times["started_at"] or time),
            "exit_code": exit_code if signal is None else None,
            "signal": signal,
            "core": False,
            "reason": reason,
            "message": None,
            "stop": stop,
            "final": True,
            "restart": None,
            "max_rss_kib": 0,
            "user_seconds": 0.0,
            "system_seconds": 0.0,
            "positions": self._positions(),
            "dropped": 0,
            "complete": True,
            "ended": [],
            "survivors": [],
        }
        self._changed()

    def lose(self) -> None:
        """Be gone without a record, as after a reboot."""
        self.phase = "lost"
        self._changed()

    def status(self) -> dict[str, Any]:
        """Return the status of docs/reference/protocol.md."""
        record = self._record or {}
        stopped = self.phase == "new" or record.get("reason") == "stopped"
        return {
            "job": self.job,
            "program": self.spec["program"],
            "process": self.name,
            "group": self.spec["group"],
            "state": "RUNNING" if self.is_running else "STOPPED" if stopped else "EXITED",
            "phase": self.phase,
            "pid": self.pid if self.is_running else None,
            "runner_pid": self.pid + 1 if self.is_running else None,
            "generation": self.generation,
            "owner": self.owner,
            **self._times,
            "exit_code": record.get("exit_code"),
            "signal": record.get("signal"),
            "restarts": 0,
            "record": self._record,
            **{stream: f"/memory/jobs/{self.job}/{self.name}/{stream}.log" for stream in STREAMS},
            "positions": self._positions() if self.generation else {},
        }

    def first_position(self, stream: str, start: Any, consumer: str | None) -> int:
        """Return where a watch begins to read a stream."""
        log = self.logs[stream]
        began = self._starts.get(stream, 0)
        if isinstance(start, dict):
            return int(start.get(self.name, {}).get(stream, 0))
        if isinstance(start, int):
            return log.last(start)
        if start == "end":
            return log.end
        if start == "beginning" or consumer not in self.cursors:
            return began
        return int(self.cursors[consumer]["positions"].get(stream, began))

    def acknowledge(self, consumer: str, positions: dict[str, int], reported: int) -> None:
        """Keep how far a consumer has read, and which end it has reported."""
        cursor = self.cursors.setdefault(consumer, {"positions": {}, "reported": 0})
        cursor["positions"].update(positions)
        cursor["reported"] = max(cursor["reported"], reported)

    def _positions(self) -> dict[str, dict[str, int]]:
        return {stream: {"start": self._starts.get(stream, 0), "end": log.end} for stream, log in self.logs.items()}
