"""Reads what :mod:`tests.programs.scripted_job` wrote, and says which of its processes really run now."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Entry:
    """One line of a ledger."""

    event: str
    pid: int
    ppid: int
    ticks: int
    boot_id: str
    mark: str | None
    role: str
    time: float
    argv: tuple[str, ...] = ()
    exit_code: int | None = None
    die_by: str | None = None
    signal: str | None = None

    @classmethod
    def parse(cls, line: str) -> Entry:
        """Return the entry that a line holds, behind the torn line of a process that was killed while it wrote."""
        facts: dict[str, Any] = json.loads(line[line.rindex('{"event"') :])
        return cls(**{**facts, "argv": tuple(facts.get("argv", ()))})

    def is_by(self, start: Entry) -> bool:
        """Return whether that start's process wrote this, or a child that bears its mark."""
        if self.role == "child":
            return self.mark == start.mark
        return (self.pid, self.ticks) == (start.pid, start.ticks)

    def is_alive(self) -> bool:
        """Return whether the very process that wrote this runs now; a stopped one does, a zombie does not."""
        with contextlib.suppress(OSError):
            if Path("/proc/sys/kernel/random/boot_id").read_text().strip() == self.boot_id:
                fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
                return fields[0] not in "ZX" and int(fields[19]) == self.ticks
        return False


class Ledger:
    """The ledger of a scripted job; every question reads the file again.

    :param path: what the job was given as ``--ledger``; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, event: str | None = None, *, role: str | None = None) -> list[Entry]:
        """Return all complete lines in order, or those of one event or role (``main``, ``child``)."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        entries = map(Entry.parse, text[: text.rfind("\n") + 1].splitlines())
        return [entry for entry in entries if event in (None, entry.event) and role in (None, entry.role)]

    def starts(self, *, role: str | None = None) -> list[Entry]:
        """Return the starts; two of the role ``main`` are two starts of the program."""
        return self.entries("start", role=role)

    def beats(self, *, role: str | None = None) -> list[Entry]:
        """Return the beats."""
        return self.entries("beat", role=role)

    def exits(self, *, role: str | None = None) -> list[Entry]:
        """Return the ends that a process could announce."""
        return self.entries("exit", role=role)

    def signals(self, *, role: str | None = None) -> list[Entry]:
        """Return the signals that were noticed."""
        return self.entries("signal", role=role)

    def alive(self, *, role: str | None = None) -> list[Entry]:
        """Return the starts of those processes that run at this moment."""
        return [entry for entry in self.starts(role=role) if entry.is_alive()]

    def copies(self) -> list[tuple[Entry, Entry]]:
        """Return each start of the program with a later sign of life of an earlier start, or of its children.

        The order of the lines is the order of what happened, whatever a clock says. Children are told apart by the
        mark of their start, so this is for programs that were started with one.
        """
        found: list[tuple[Entry, Entry]] = []
        mains: list[Entry] = []
        for entry in self.entries():
            if entry.event == "start" and entry.role == "main":
                mains.append(entry)
            elif mains and any(entry.is_by(earlier) for earlier in mains[:-1]) and not entry.is_by(mains[-1]):
                found.append((mains[-1], entry))
        return found

    def wait_for(self, predicate: Callable[[Ledger], Seen], deadline: float = 15) -> Seen:
        """Return the predicate's first true answer.

        :param predicate: is given this ledger, again and again.
        :param deadline: seconds from now.
        :raises AssertionError: it did not come; the message shows what was last seen.
        """
        end = time.monotonic() + deadline
        while not (answer := predicate(self)):
            if time.monotonic() > end:
                raise AssertionError(f"Not within {deadline} s: last answer {answer!r}\n{self.describe()}")
            time.sleep(0.01)
        return answer

    def end_all(self) -> None:
        """Leave none of the job's processes behind, whatever became of the test."""
        for entry in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.pid, signal.SIGKILL)

    def describe(self, *, last: int = 20) -> str:
        """Return the last entries and who is alive, for people."""
        entries = self.entries()
        lines = [f"  {entry}" for entry in entries[-last:]]
        return "\n".join(
            [f"{self.path}: {len(entries)} entries, alive: {[entry.pid for entry in self.alive()]}", *lines]
        )
