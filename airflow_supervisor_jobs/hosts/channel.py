"""The small seam below a pipe: a program's three streams, wherever it runs."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod

#: What starts an agent; its standard input brings the rest, so that nothing of ours is ever in argv.
LOADER_STUB = "import sys;exec(eval(sys.stdin.buffer.readline()))"

#: How much of a program's standard error is kept for messages, in bytes.
STDERR_KEPT = 8192


def agent_argv(python: str) -> list[str]:
    """Return the words that start an agent with the interpreter ``python``."""
    return [python, "-I", "-S", "-c", LOADER_STUB]


def agent_command(python: str) -> str:
    """Return the line for a remote login shell that starts an agent; a leading ``~/`` is the shell's to expand."""
    head, tilde, rest = python.rpartition("~/") if python.startswith("~/") else ("", "", python)
    return head + tilde + shlex.join(agent_argv(rest))


class Channel(ABC):
    """Bytes to and from a started program."""

    @abstractmethod
    async def read(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; empty at the end.

        :raises OSError: the connection broke.
        """

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Hand over all of ``data``, in order with other writes even when cancelled; waits while the peer is slow.

        :raises OSError: the connection broke.
        """

    @abstractmethod
    async def close(self) -> None:
        """End the connection at once; safe to call twice."""

    @abstractmethod
    async def exit_status(self) -> int | None:
        """Return what the program ended with, waiting a moment for it and for its :attr:`stderr`; None if not known."""

    @property
    @abstractmethod
    def stderr(self) -> bytes:
        """The last of what the program wrote to its standard error."""


class Tail:
    """Keeps the last :data:`STDERR_KEPT` bytes of what it is fed."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Append ``data``, forgetting the oldest."""
        self._kept = (self._kept + data)[-STDERR_KEPT:]

    def __bytes__(self) -> bytes:
        return self._kept


def last_lines(data: bytes, *, count: int = 5) -> str:
    """Return the last lines of a program's output as one line that is safe to show."""
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    text = " | ".join([line for line in lines if line][-count:])
    return "".join(char if char.isprintable() else "?" for char in text)[-1000:]
