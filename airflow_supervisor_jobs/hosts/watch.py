"""Watching a job until it is known what became of it: the same for the trigger, the sensor and the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

from airflow_supervisor_jobs.core.judge import judge
from airflow_supervisor_jobs.core.policy import Forward, WatchPolicy
from airflow_supervisor_jobs.core.status import Span
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
from airflow_supervisor_jobs.hosts.flow import ASK_S, TAIL_BYTES, Flow
from airflow_supervisor_jobs.hosts.observations import Changed, Concluded, Contact, Observation, Output
from airflow_supervisor_jobs.hosts.picture import LAST_LINES, Picture, Positions, Target
from airflow_supervisor_jobs.hosts.tails import Stretch, find_stretch

__all__ = ["Changed", "Concluded", "Contact", "Observation", "Output", "Pipes", "Target", "watch"]

#: Seconds between handing lines over and telling the host that they were.
ACK_AFTER_S = 3.0
#: Seconds without anything new after which the end no longer waits for the rest of the output.
DRAIN_S = 15.0
#: How many lines are told in a row.
_TURN_LINES = 256


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
        forward = policy.forward_logs if target.logs else Forward.NONE
        self.target = target = replace(target, logs=forward is Forward.ALL)
        self.is_tail_wanted = forward is Forward.TAIL
        self.policy = policy
        self.pipes = pipes
        self.clock = clock
        self.once = once
        self.at = asyncio.get_running_loop().time
        self.picture = Picture(target, policy, now=clock(), at=self.at())
        self.attendance = Attendance(pipes=pipes, params=self._params, delays=delays)
        self.flow = Flow(target.job, rate=policy.max_log_rate, picture=self.picture, attendance=self.attendance)
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
            self._let_flow(news)
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
                await within(ASK_S, self._ack(self.attendance.pipe, deepcopy(self.picture.delivered)))

    def _params(self) -> dict[str, Any]:
        target, start = self.target, self.flow.start
        if start is None and self.picture.begun:
            start = self.picture.received
        self.flow.start = None
        return {
            "job": target.job,
            "owner": None if target.owner is None else dict(target.owner),
            "consumer": target.consumer,
            "logs": target.logs,
            "start": target.start if start is None else start,
            "credit": self.flow.credit_bytes,
        }

    def _judge(self) -> Judgement:
        """Nothing is decided before the first look: the job may have ended long ago."""
        if not self.picture.looked:
            return Judgement(Verdict.RUNNING, "not looked at yet", final=False)
        return judge(self.policy, self.picture.view(at=self.at()), now=self.clock())

    def _is_drained(self, judgement: Judgement) -> bool:
        ended_by_itself = judgement.program is not None or judgement.verdict is Verdict.FINISHED
        is_settled = self.picture.is_over if self.flow.is_holding else self.picture.is_settled
        if not ended_by_itself or all(map(is_settled, self.picture.statuses)):
            return True
        return self.at() - self.picture.moved_at >= DRAIN_S

    def _has_seen_all(self) -> bool:
        picture = self.picture
        if not picture.looked:
            return False
        if not picture.reachable or self.flow.is_holding or self._is_quiet():
            return True
        is_measured = self.flow.is_measured or not self.target.logs
        return is_measured and all(map(picture.has_caught_up, picture.statuses))

    def _is_quiet(self) -> bool:
        return self.at() - self.picture.moved_at >= DRAIN_S

    def _wait_s(self, judgement: Judgement) -> float:
        now = self.at()
        waits = [self.picture.wait_s(now=self.clock(), at=now), self.flow.wait_s()]
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
            return () if self.flow.holds_back(news.event) else picture.take(news.event, at=at)
        if isinstance(news, Parted):
            return picture.part(news.error, refused=news.refused, at=at)
        if isinstance(news, Missing):
            return picture.miss(at=at)
        return ()

    def _let_flow(self, news: News | None) -> None:
        if isinstance(news, Joined):
            self.flow.begin()
            if self.once and self.target.logs and self.attendance.pipe is not None:
                self.attendance.run_errand(self.flow.measure(self.attendance.pipe))
        elif isinstance(news, Heard):
            self.flow.give_credit(news.event)
        self.flow.pass_over_in_time()

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
        async for observation in self._tell(self.picture.rest(whole=not self.flow.is_holding)):
            yield observation
        if self.flow.is_holding or (self.is_tail_wanted and judgement.final):
            async for observation in self._tell(await self.flow.last()):
                yield observation
        if not judgement.final:
            return
        if judgement.program is not None and not judgement.last_lines and self.attendance.pipe is not None:
            await self._ask_last_lines(self.attendance.pipe, judgement.program)
        again = self._judge()
        judgement = again if again.final else judgement
        yield Concluded(judgement, dict(self.picture.statuses), self._confirm)

    async def _ask_last_lines(self, pipe: Pipe, process: str) -> None:
        """What was handed over before this watch began does not come again: ask for it, of all streams at once."""
        generation = self.picture.statuses[process].generation

        async def ask(stream: str, span: Span | None) -> None:
            about = pipe, self.target.job, process, stream
            with suppress(HostError, asyncio.TimeoutError):
                if span is None:
                    stretch = await within(ASK_S, find_stretch(*about, generation=generation))
                else:
                    stretch = Stretch(*about, begin=span.start, end=span.end)
                lines = await within(ASK_S, stretch.last_lines(LAST_LINES, most_bytes=TAIL_BYTES))
                self.picture.add_last_lines(process, stream, [line.text for line in lines if not line.ours])

        await asyncio.gather(*(ask(stream, span) for stream, span in self.picture.written(process)))

    def _confirm(self) -> Coroutine[Any, Any, bool]:
        """A conclusion that the host does not hear of is told again to the next watch of the same owner: no harm.

        What is to be told, and over which pipe, is settled at once: the watch may be left before the host has answered.
        """
        statuses = self.picture.statuses.values()
        theirs = self.picture.view(at=self.at()).superseded
        reported = {} if theirs else {status.process: status.generation for status in statuses if status.has_ended}
        self.acked = deepcopy(self.picture.delivered)
        return self._tell_host(self.attendance.pipe, self.acked, reported)

    async def _tell_host(self, pipe: Pipe | None, positions: Positions, reported: Mapping[str, int]) -> bool:
        if self.target.consumer is None or not (reported or positions):
            return True
        with suppress(HostError, asyncio.TimeoutError):
            if pipe is not None:
                await within(ASK_S, self._ack(pipe, positions, reported))
                return True
        with suppress(HostError):
            async with self.pipes() as another:
                await self._ack(another, positions, reported)
                return True
        return False
