"""Keeping a subscription alive: connect, listen, and connect again for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from airflow_supervisor_jobs.exceptions import AgentError, HostError, HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.stream import in_background

T = TypeVar("T")

#: Gives an open pipe for as long as its context lasts; a new one, or a shared one.
Pipes = Callable[[], AbstractAsyncContextManager[Pipe]]
#: From the number of attempts that failed in a row to the seconds until the next one.
Delays = Callable[[int], float]

_FIRST_DELAY_S = 0.5
_MAX_DELAY_S = 60.0


def jittered_delay_s(attempt: int, *, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after ``attempt`` failures: doubling up to a minute, each half of it by chance.

    >>> [jittered_delay_s(attempt, draw=lambda: 1.0) for attempt in (0, 1, 2, 30)]
    [0.5, 1.0, 2.0, 60.0]
    """
    ceiling = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempt, 16))
    return ceiling * (0.5 + draw() / 2)


@dataclass(frozen=True)
class Joined:
    """A subscription began; ``host_now`` is the host's clock at that moment."""

    answer: Mapping[str, Any]
    host_now: float


@dataclass(frozen=True)
class Heard:
    """An event of the subscription."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class Parted:
    """The subscription broke; ``refused``: it will not begin again before somebody changes something."""

    error: str
    refused: bool = False


@dataclass(frozen=True)
class Missing:
    """The host is there, the job is not."""


News = Joined | Heard | Parted | Missing


class Attendance:
    """A subscription to a job's events that outlives its connections. Use with ``async with``.

    :param params: gives the parameters of ``watch``, anew at each connection.
    :param delays: the seconds to wait before an attempt.
    """

    def __init__(self, *, pipes: Pipes, params: Callable[[], Mapping[str, Any]], delays: Delays) -> None:
        self._pipes = pipes
        self._params = params
        self._delays = delays
        self._states: deque[News] = deque()
        self._lines: deque[News] = deque()
        self._arrived = asyncio.Event()
        self._failure: BaseException | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._is_renewing = False
        self._errands: set[asyncio.Task[None]] = set()
        self.pipe: Pipe | None = None
        self.sub = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._attend())
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._task, *self._errands):
            task.cancel()
        await asyncio.gather(self._task, *self._errands, return_exceptions=True)

    async def news(self, *, timeout_s: float) -> News | None:
        """Return what came next, states before lines, or None when nothing did in time.

        :raises SupervisorJobsError: what makes it useless to try again.
        """
        if not (self._states or self._lines or self._failure):
            self._arrived.clear()
            alarm = asyncio.get_running_loop().call_later(timeout_s, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                alarm.cancel()
        if self._states:
            return self._states.popleft()
        if self._lines:
            return self._lines.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    def backlog(self) -> Iterator[News]:
        """Give what has arrived and was not looked at."""
        while self._states or self._lines:
            yield (self._states or self._lines).popleft()

    def run_errand(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do ``work`` beside the watching; that the host went out of sight meanwhile is no matter.

        :meth:`news` returns when it is done, if nothing else comes.
        """
        task = asyncio.create_task(_quietly(work))
        self._errands.add(task)
        task.add_done_callback(self._back_from_errand)

    def renew(self) -> None:
        """Subscribe anew, over the same pipe, with parameters as they are then."""
        if self._hearing is not None:
            self._is_renewing = True
            self._hearing.cancel()

    def _back_from_errand(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        self._arrived.set()

    def _put(self, news: News) -> None:
        is_line = isinstance(news, Heard) and news.event["event"] == "log"
        (self._lines if is_line else self._states).append(news)
        self._arrived.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure = task.exception() or HostUnreachable("the watch of it ended by itself")
            self._arrived.set()

    async def _attend(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._pipes() as pipe:
                    await self._listen(pipe)
                error: HostError = HostUnreachable("the connection was closed", host=pipe.host)
            except HostError as caught:
                error = caught
            finally:
                attempt = 0 if self.pipe is not None else attempt + 1
                self.pipe = None
            if isinstance(error, AgentError) and error.code == "not_installed":
                self._put(Missing())
            else:
                self._put(Parted(str(error), refused=isinstance(error, HostRefused)))
            await asyncio.sleep(_MAX_DELAY_S if isinstance(error, HostRefused) else self._delays(attempt))

    async def _listen(self, pipe: Pipe) -> None:
        while True:
            self._is_renewing = False
            host_now = (await pipe.request("ping"))["now"]
            answer = await pipe.request("watch", **self._params())
            self.pipe, self.sub = pipe, answer["sub"]
            self._put(Joined(answer, host_now))
            self._hearing = asyncio.create_task(self._hear(pipe))
            try:
                await asyncio.wait({self._hearing})
                if not self._is_renewing:
                    self._hearing.result()
                    return
            finally:
                self._hearing.cancel()
                await asyncio.gather(self._hearing, return_exceptions=True)
                # The pipe may be shared, and then the agent would go on sending; but nobody has to wait for its answer.
                in_background(pipe.request("unwatch", sub=self.sub))

    async def _hear(self, pipe: Pipe) -> None:
        async for event in pipe.events(self.sub):
            self._put(Heard(event))


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` does. Unlike ``asyncio.wait_for`` before Python 3.12 it never swallows a cancellation.

    :raises asyncio.TimeoutError: it took longer than ``limit_s``.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=limit_s)
    finally:
        in_time = task.done()
        task.cancel()
    if not in_time:
        raise asyncio.TimeoutError
    return task.result()


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(HostError):
        await work
