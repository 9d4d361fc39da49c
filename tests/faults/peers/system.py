"""What keeps programs: one face for all that are compared, so that each is tried by the very same script."""

from __future__ import annotations

import abc
from pathlib import Path

from typing_extensions import Self

Status = tuple[int | None, int | None]


class NotRun(Exception):
    """A fault that this system cannot have, or that cannot be tried on it here; the message says why."""


class System(abc.ABC):
    """One system that keeps one program, in a folder of its own, for as long as the ``async with`` block lasts.

    :param folder: short and empty.
    :param number: tells the systems that run side by side apart.
    """

    name: str

    def __init__(self, folder: Path, *, number: int) -> None:
        self.folder, self.number = folder, number

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @abc.abstractmethod
    async def start(self, command: list[str]) -> None:
        """Have the command run, as a first try of a task does."""

    @abc.abstractmethod
    async def start_again(self) -> None:
        """Do what a retry does, whose predecessor was killed before it could note anything."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Stop the program as the system does it, and return when it says that it is stopped."""

    @abc.abstractmethod
    async def end(self, *, within: float) -> Status | None:
        """Return exit code or signal as the system tells them, or None: nothing was told in so many seconds."""

    @abc.abstractmethod
    async def ends(self, command: list[str], numbers: list[int]) -> dict[int, Status]:
        """Run the command once with each number as its last argument, and return how the system says each ended."""

    async def kill_supervisord(self) -> None:
        """Kill supervisord with -9."""
        raise NotRun("it has no supervisord")

    async def start_anew(self) -> None:
        """Have supervisord and the program run, as the next run does that finds no supervisord."""
        raise NotRun("it has no supervisord")

    async def mark_failed(self) -> None:
        """Do what Airflow does when somebody marks the waiting task failed."""
        raise NotRun("it has no tasks")
