"""How a job's output comes to its watch: by credit and within a budget, and what is told of the rest in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow_supervisor_jobs.exceptions import HostError
from airflow_supervisor_jobs.hosts.attendance import Attendance, within
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.budget import Budget
from airflow_supervisor_jobs.hosts.lines import Line
from airflow_supervisor_jobs.hosts.observations import Observation
from airflow_supervisor_jobs.hosts.picture import Picture, Positions
from airflow_supervisor_jobs.hosts.tails import Stretch, find_stretch

#: Bytes of output that may be under way to us, or wait here to be told; a triggerer may have a flood of each job.
CREDIT_BYTES = 256 * 1024
#: How many of a stream's last lines are told of what was held back, and how many bytes they may have.
TAIL_LINES = 100
TAIL_BYTES = 256 * 1024
#: Seconds that one question may take.
ASK_S = 5.0


class Flow:
    """Decides what of the output is wanted now. Once too much has come, nothing more is, until there is room again.

    :param rate: bytes a second that may come, on average; None is without limit.
    :ivar is_holding: whether what comes is held back.
    :ivar is_measured: whether the host has said how far each stream goes, since :meth:`measure` was called.
    :ivar start: where the next subscription begins; None: where the output has arrived.
    """

    def __init__(self, job: str, *, rate: float | None, picture: Picture, attendance: Attendance) -> None:
        self._job = job
        self._picture = picture
        self._attendance = attendance
        self._at = asyncio.get_running_loop().time
        self._budget = None if rate is None else Budget(rate, at=self._at())
        self._used_bytes = 0
        self._is_passing_over = False
        self.credit_bytes = CREDIT_BYTES if self._budget is None else int(min(CREDIT_BYTES, self._budget.burst_bytes))
        self.is_holding = False
        self.is_measured = False
        self.start: Positions | None = None

    def begin(self) -> None:
        """A subscription has begun, with new credit."""
        self._used_bytes = 0
        self.is_holding = self._is_passing_over = False

    def holds_back(self, event: Mapping[str, Any]) -> bool:
        """Return whether an event's output is too much."""
        if self._budget is None or event["event"] != "log":
            return False
        size = _size_of(event)
        self.is_holding = self.is_holding or not self._budget.take(size, at=self._at())
        if self.is_holding:
            self._picture.reached(event["process"], event["stream"], event["position"] + size)
        return self.is_holding

    def give_credit(self, event: Mapping[str, Any]) -> None:
        """The host may send as much again as an event has brought."""
        if self.is_holding or event["event"] != "log":
            return
        self._used_bytes += _size_of(event)
        pipe = self._attendance.pipe
        if self._used_bytes >= self.credit_bytes // 4 and pipe is not None:
            self._attendance.run_errand(pipe.request("credit", sub=self._attendance.sub, bytes=self._used_bytes))
            self._used_bytes = 0

    def wait_s(self) -> float | None:
        """Return the seconds until there is room again, None where it is not waited for."""
        if not self.is_holding or self._is_passing_over or self._budget is None:
            return None
        return self._budget.wait_s(at=self._at())

    def pass_over_in_time(self) -> None:
        """Where there is room again, go on near the end: what was held back is not waited for."""
        pipe = self._attendance.pipe
        if self.wait_s() == 0 and pipe is not None and self._budget is not None:
            self._is_passing_over = True
            self._attendance.run_errand(self._pass_over(pipe, self._budget))

    async def _pass_over(self, pipe: Pipe, budget: Budget) -> None:
        await self.measure(pipe)
        self.start = self._picture.newest(room=int(budget.left(at=self._at())))
        self._attendance.renew()

    async def measure(self, pipe: Pipe) -> None:
        """Ask how far the output goes: a status tells it only of what has ended.

        :raises HostError: the host cannot be asked.
        """
        self.is_measured = False
        await asyncio.gather(*(self._find(pipe, *key) for key in self._picture.streams()))
        self.is_measured = True

    async def last(self) -> list[Observation]:
        """Return the last lines of what was held back; the others are counted."""
        streams = self._picture.streams()
        told = await asyncio.gather(*(self._last_of(self._attendance.pipe, *key) for key in streams))
        return [observation for observations in told for observation in observations]

    async def _last_of(self, pipe: Pipe | None, process: str, stream: str) -> list[Observation]:
        lines: list[Line] = []
        lost = 0
        with suppress(HostError, asyncio.TimeoutError):
            if pipe is not None:
                stretch = await within(ASK_S, self._find(pipe, process, stream))
                lost = stretch.lost
                lines = await within(ASK_S, stretch.last_lines(TAIL_LINES, most_bytes=TAIL_BYTES))
        return list(self._picture.last(process, stream, lines, lost=lost))

    async def _find(self, pipe: Pipe, process: str, stream: str) -> Stretch:
        """Return what of a stream has not arrived."""
        received = self._picture.received[process][stream]
        stretch = await find_stretch(pipe, self._job, process, stream, position=received)
        self._picture.reached(process, stream, stretch.end)
        return stretch


def _size_of(event: Mapping[str, Any]) -> int:
    data: str = event["data"]
    return len(data) * 3 // 4 - data.count("=")
