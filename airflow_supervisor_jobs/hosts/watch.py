"""Watching a job until it is known what became of it: the same for the trigger, the sensor and the command line."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

from airflow_supervisor_jobs.core.judge import judge
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Judgement, Verdict
from airflow_supervisor_jobs.exceptions import HostError
from airflow_supervisor_jobs.hosts.attendance import (
    Attendance,
    Delays,
    Heard,
    Joined,
    Missing,
    News,
    Parted,
    Pipes,
    jittered_delay_s,
    within,
)
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.lines import LineReader
from airflow_supervisor_jobs.hosts.observations import Changed, Concluded, Contact, Observation, Output
from airflow_supervisor_jobs.hosts.picture import Picture, Positions, Target

__all__ = ["Changed", "Concluded", "Contact", "Observation", "Output", "Pipes", "Target", "watch"]

#: Bytes of output that may be under way to us.
CREDIT_BYTES = 1024 * 1024
#: Seconds between handing lines over and telling the host that they were.
ACK_AFTER_S = 3.0
#: Seconds without anything new after which the end no longer waits for the rest of the output.
DRAIN_S = 15.0
#: How many lines are told in a row.
_TURN_LINES = 256
#: Seconds that one question at the end may take.
_ASK_S = 5.0


async def watch(
    target: Target,
    policy: WatchPolicy,
    *,
    pipes: Pipes,
    clock: Callable[[], float] = time.time,
    delays: Delays = jittered_delay_s,
    once: bool = False,
) -> AsyncGenerator[Observation, None]:
    """Yield what happens to the job, and :class:`Concluded` as the last.

    The host may come and go: it is connected to again, and the output goes on where it stopped. A line counts as
    handed over when the next observation is asked for. Close the iterator (``contextlib.aclosing``) if you leave early.

    :param pipes: gives an open pipe; called again after each break.
    :param clock: seconds since the epoch, for ``endtime`` and for what began before this watch.
    :param delays: from the number of failures in a row to the seconds until the next attempt.
    :param once: look only once: end, without a conclusion if there is none yet, when all output so far has been
        handed over, or the host cannot be reached.
    """
    session = _Session(target, policy, pipes=pipes, clock=clock, delays=delays, once=once)
    async with session.attendance:
        try:
            async for observation in session.observe():
                yield observation
        finally:
            await session.leave()


class _Session:
    def __init__(
        self,
        target: Target,
        policy: WatchPolicy,
        *,
        pipes: Pipes,
        clock: Callable[[], float],
        delays: Delays,
        once: bool,
    ) -> None:
        self.target = target
        self.policy = policy
        self.pipes = pipes
        self.clock = clock
        self.once = once
        self.at = asyncio.get_running_loop().time
        self.picture = Picture(target, policy, now=clock(), at=self.at())
        self.attendance = Attendance(pipes=pipes, params=self._params, delays=delays)
        self.used_bytes = 0
        self.acked: Positions = {}
        self.to_ack: Positions = {}
        self.ack_at: float | None = None

    async def observe(self) -> AsyncIterator[Observation]:
        while True:
            judgement = self._judge()
            if judgement.final and self._is_drained(judgement):
                break
            if self.once and self._has_seen_all():
                break
            news = await self.attendance.news(timeout_s=self._wait_s(judgement))
            async for observation in self._tell(self._learn(news)):
                yield observation
            self._give_credit(news)
            self._ack_in_time()
        async for observation in self._conclude(judgement):
            yield observation

    async def _tell(self, observations: Iterable[Observation]) -> AsyncIterator[Observation]:
        """A flood of one job must not hold up the others that are watched by the same loop."""
        for number, observation in enumerate(observations):
            if number % _TURN_LINES == 0:
                await asyncio.sleep(0)
            yield observation
            if isinstance(observation, Output):
                self.picture.handed_over(observation)

    async def leave(self) -> None:
        """Keep on the host what was handed over, if it is in sight."""
        if self.picture.delivered != self.acked:
            with suppress(HostError, asyncio.TimeoutError):
                await within(_ASK_S, self._ack(self.attendance.pipe, deepcopy(self.picture.delivered)))

    def _params(self) -> dict[str, Any]:
        target = self.target
        return {
            "job": target.job,
            "owner": None if target.owner is None else dict(target.owner),
            "consumer": target.consumer,
            "logs": target.logs,
            "start": self.picture.received if self.picture.begun else target.start,
            "credit": CREDIT_BYTES,
        }

    def _judge(self) -> Judgement:
        """Nothing is decided before the first look: the job may have ended long ago."""
        if not self.picture.looked:
            return Judgement(Verdict.RUNNING, "not looked at yet", final=False)
        return judge(self.policy, self.picture.view(at=self.at()), now=self.clock())

    def _is_drained(self, judgement: Judgement) -> bool:
        ended_by_itself = judgement.program is not None or judgement.verdict is Verdict.FINISHED
        if not ended_by_itself or all(map(self.picture.is_settled, self.picture.statuses)):
            return True
        return self.at() - self.picture.moved_at >= DRAIN_S

    def _has_seen_all(self) -> bool:
        picture = self.picture
        if not picture.looked:
            return False
        return not picture.reachable or all(map(picture.has_caught_up, picture.statuses)) or self._is_quiet()

    def _is_quiet(self) -> bool:
        return self.at() - self.picture.moved_at >= DRAIN_S

    def _wait_s(self, judgement: Judgement) -> float:
        now = self.at()
        waits = [self.picture.wait_s(now=self.clock(), at=now)]
        if self.ack_at is not None:
            waits.append(self.ack_at - now)
        if judgement.final or (self.once and self.picture.looked):
            waits.append(self.picture.moved_at + DRAIN_S - now)
        return max(0.0, min((wait for wait in waits if wait is not None), default=3600.0))

    def _learn(self, news: News | None) -> Iterable[Observation]:
        picture, at = self.picture, self.at()
        if isinstance(news, Joined):
            return picture.join(news.answer, host_now=news.host_now, at=at)
        if isinstance(news, Heard):
            return picture.take(news.event, at=at)
        if isinstance(news, Parted):
            return picture.part(news.error, refused=news.refused, at=at)
        if isinstance(news, Missing):
            return picture.miss(at=at)
        return ()

    def _give_credit(self, news: News | None) -> None:
        if isinstance(news, Joined):
            self.used_bytes = 0
        if not isinstance(news, Heard) or news.event["event"] != "log":
            return
        data = news.event["data"]
        self.used_bytes += len(data) * 3 // 4 - data.count("=")
        pipe = self.attendance.pipe
        if self.used_bytes >= CREDIT_BYTES // 4 and pipe is not None:
            self.attendance.run_errand(pipe.request("credit", sub=self.attendance.sub, bytes=self.used_bytes))
            self.used_bytes = 0

    def _ack_in_time(self) -> None:
        """Tell the host only what was handed over some seconds ago: a log handler needs time, too."""
        if self.target.consumer is None:
            return
        if self.ack_at is None:
            if self.picture.delivered != self.acked:
                self.to_ack, self.ack_at = deepcopy(self.picture.delivered), self.at() + ACK_AFTER_S
        elif self.at() >= self.ack_at:
            self.attendance.run_errand(self._ack(self.attendance.pipe, self.to_ack))
            self.ack_at = None

    async def _ack(self, pipe: Pipe | None, positions: Positions, reported: Mapping[str, int] | None = None) -> None:
        if pipe is None or self.target.consumer is None:
            return
        told = {"positions": positions, "reported": dict(reported or {})}
        await pipe.request("ack", job=self.target.job, consumer=self.target.consumer, **told)
        self.acked = positions

    async def _conclude(self, judgement: Judgement) -> AsyncIterator[Observation]:
        for news in self.attendance.backlog():
            async for observation in self._tell(self._learn(news)):
                yield observation
        async for observation in self._tell(self.picture.rest()):
            yield observation
        if not judgement.final:
            return
        if judgement.program is not None and not judgement.last_lines:
            await self._ask_last_lines(judgement.program)
            again = self._judge()
            judgement = again if again.final else judgement
        yield Concluded(judgement, dict(self.picture.statuses), self._confirm)

    async def _ask_last_lines(self, process: str) -> None:
        """What was handed over before this watch began does not come again: ask for it."""
        status, pipe = self.picture.statuses[process], self.attendance.pipe
        if pipe is None:
            return
        with suppress(HostError, asyncio.TimeoutError):
            for stream, path in (("stderr", status.stderr), ("stdout", status.stdout)):
                if path is not None and not self.picture.view(at=self.at()).last_lines.get(process):
                    asked = pipe.request("logs", job=self.target.job, process=process, stream=stream, **_LAST)
                    self.picture.add_last_lines(process, stream, _lines(await within(_ASK_S, asked)))

    async def _confirm(self) -> bool:
        """A conclusion that the host does not hear of is told again to the next watch of the same owner: no harm."""
        if self.target.consumer is None:
            return True
        statuses = self.picture.statuses.values()
        theirs = self.picture.view(at=self.at()).superseded
        reported = {} if theirs else {status.process: status.generation for status in statuses if status.has_ended}
        positions = deepcopy(self.picture.delivered)
        if not (reported or positions):
            return True
        with suppress(HostError, asyncio.TimeoutError):
            if self.attendance.pipe is not None:
                await within(_ASK_S, self._ack(self.attendance.pipe, positions, reported))
                return True
        with suppress(HostError):
            async with self.pipes() as pipe:
                await self._ack(pipe, positions, reported)
                return True
        return False


_LAST = {"position": None, "tail": 10, "since": None, "generation": None, "limit": 65536}


def _lines(answer: Mapping[str, Any]) -> list[str]:
    reader = LineReader()
    lines = []
    for chunk in answer["chunks"]:
        lines += reader.feed(
            b64decode(chunk["data"]), position=chunk["position"], generation=chunk["generation"], time=chunk["time"]
        )
    return [line.text for line in (*lines, *reader.flush())]
