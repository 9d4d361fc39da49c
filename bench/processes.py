"""What processes cost: processor seconds and memory, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PARENT, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 13, 14


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor seconds of these processes so far, with those of the children that they have reaped."""
    return sum(map(_cpu_s, pids))


def _cpu_s(pid: int) -> float:
    """A process's own time is exact, to the nanosecond; an idle one hides in a clock tick."""
    with suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        own = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
        stat = _stat(pid)
        return own + (int(stat[_CHILDREN_USER]) + int(stat[_CHILDREN_SYSTEM])) / _TICK
    return 0.0


def children() -> dict[int, list[int]]:
    """Return the children of every process."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found.setdefault(int(_stat(int(entry.name))[_PARENT]), []).append(int(entry.name))
    return found


def tree(pid: int, of: Mapping[int, list[int]] | None = None) -> list[int]:
    """Return the process and all that descend from it."""
    known = children() if of is None else of
    found = [pid]
    for child in known.get(pid, ()):
        found += tree(child, known)
    return found


def command(pid: int) -> str:
    """Return the process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def pss_bytes(pids: Iterable[int]) -> int:
    """Return the memory of these processes, what is shared divided among those that share it (PSS)."""
    return sum(map(_pss_bytes, pids))


def _pss_bytes(pid: int) -> int:
    with suppress(OSError, StopIteration):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in rollup if line.startswith("Pss:")))
    return 0
