"""Finds and ends every process that belongs to a root on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def processes_of(root: Path) -> dict[int, str]:
    """Return pid and command line of every process that names the root, or holds one of its files."""
    found = {}
    needle = os.fsencode(root)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                command = Path("/proc", entry, "cmdline").read_bytes()
                if _is_alive(entry) and (needle in command or _names(entry, needle) or _holds(entry, str(root))):
                    found[int(entry)] = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return found


def end_processes_of(root: Path, *, patience: float = 15) -> dict[int, str]:
    """End supervisord and the runners, then whatever is left; return what only a KILL could end."""
    for pid, command in processes_of(root).items():
        if "supervisord" in command or "runner" in command:
            _signal(pid, signal.SIGTERM)
    left = _wait_until_gone(root, patience)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    _wait_until_gone(root, patience)
    return left


def _wait_until_gone(root: Path, patience: float) -> dict[int, str]:
    deadline = time.monotonic() + patience
    while left := processes_of(root):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return left


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_alive(entry: str) -> bool:
    return Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _names(entry: str, needle: bytes) -> bool:
    with contextlib.suppress(OSError):
        return needle in Path("/proc", entry, "environ").read_bytes()
    return False


def _holds(entry: str, root: str) -> bool:
    with contextlib.suppress(OSError):
        for link in Path("/proc", entry, "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith(f"{root}/"):
                    return True
    return False
