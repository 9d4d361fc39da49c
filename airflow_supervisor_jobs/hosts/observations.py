"""What a watch tells, in the order in which it learns it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_supervisor_jobs.core.status import ProcessStatus
from airflow_supervisor_jobs.core.verdict import Judgement


async def _nobody() -> bool:
    """There is nobody to tell."""
    return True


@dataclass(frozen=True)
class Output:
    """A line of a program's output, safe to show.

    :param stream: ``stdout`` or ``stderr``.
    :param position: of its first byte in the stream, and ``end`` of the byte after its last.
    :param time: when it was read from the program (seconds since the epoch), or None.
    :param ours: the program did not write it: it says what was lost.
    """

    process: str
    stream: str
    generation: int
    position: int
    end: int
    time: float | None
    text: str
    ours: bool = False


@dataclass(frozen=True)
class Changed:
    """A process's status changed; the first look gives one of each."""

    status: ProcessStatus


@dataclass(frozen=True)
class Contact:
    """The host came in sight, or went out of it because of ``error``; ``refused``: it is there and lets nobody in."""

    reachable: bool
    error: str | None = None
    refused: bool = False


@dataclass(frozen=True)
class Concluded:
    """The last observation: what became of the job, after the rest of its output.

    Call :meth:`confirm` when the conclusion has been put where it will not be lost, and have what it returns done, now
    or in the background: the host then knows that these generations are reported, and the next ``start`` of the same
    owner starts new ones. It returns false where the host could not be told.
    """

    judgement: Judgement
    statuses: Mapping[str, ProcessStatus]
    confirm: Callable[[], Coroutine[Any, Any, bool]] = field(default=_nobody, compare=False, repr=False)


Observation = Output | Changed | Contact | Concluded
