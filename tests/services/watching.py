"""A watch beside a test, as a trigger has one, and all that it told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from typing_extensions import Self

from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Judgement
from airflow_supervisor_jobs.hosts.watch import (
    Changed,
    Concluded,
    Contact,
    Observation,
    Output,
    Pipes,
    Target,
    watch,
)
from tests.services.host import OWNER

MINE = Target("job", owner=OWNER, consumer="task")


class Watching:
    """Watches a job from now on, at the longest to the end of an ``async with`` block; tries a host again at once.

    :param pipes: leads to its host.
    :ivar seen: what the watch told, in order, each with when it was told (seconds since the epoch).
    """

    def __init__(self, pipes: Pipes, target: Target = MINE, policy: WatchPolicy | None = None) -> None:
        self.seen: list[tuple[float, Observation]] = []
        self._pipes = pipes
        self._target = target
        self._policy = policy or WatchPolicy("here", target.job)
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, what: Callable[[], Any], *, within: float = 60) -> Any:
        """Return what the condition returns as soon as it is true.

        :raises AssertionError: it does not come to that; the message shows what was seen last.
        """
        deadline = time.monotonic() + within
        while not (answer := what()):
            if self._task.done():
                self._task.result()  # its error, if it has one
                raise AssertionError(f"the watch is over; seen last: {self.seen[-5:]}")
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise AssertionError(f"it did not come to that; seen last: {self.seen[-5:]}") from None
        return answer

    async def conclusion(self, *, within: float = 60) -> Concluded:
        """Return its last observation, once it has concluded."""
        await asyncio.wait_for(asyncio.shield(self._task), within)
        last = self.seen[-1][1]
        assert isinstance(last, Concluded)
        return last

    async def judgement(self, *, within: float = 60) -> Judgement:
        """Return what it concluded, once it has."""
        return (await self.conclusion(within=within)).judgement

    @property
    def is_over(self) -> bool:
        """Whether it has concluded, or failed."""
        return self._task.done()

    @property
    def texts(self) -> list[str]:
        """The lines so far."""
        return [seen.text for _, seen in self.seen if isinstance(seen, Output)]

    @property
    def pids(self) -> list[int]:
        """The program's pid, at each change of its status while it had one."""
        return [seen.status.pid for _, seen in self.seen if isinstance(seen, Changed) and seen.status.pid]

    @property
    def contacts(self) -> list[bool]:
        """Whether the host came in sight, or went out of it, each time that it did."""
        return [seen.reachable for _, seen in self.seen if isinstance(seen, Contact)]

    def is_in_sight(self) -> bool:
        """Tell whether the host is in sight now."""
        return self.contacts[-1:] == [True]

    def is_out_of_sight(self) -> bool:
        """Tell whether the host was seen to go out of sight, and has not come back."""
        return self.contacts[-1:] == [False]

    def told_at(self, what: Callable[[Observation], Any]) -> float | None:
        """Return when the first observation of that kind was told, in seconds since the epoch."""
        return next((at for at, seen in self.seen if what(seen)), None)

    async def _run(self) -> None:
        observations = watch(self._target, self._policy, pipes=self._pipes, delays=lambda attempt: 0.05)
        async with aclosing(observations):
            async for seen in observations:
                self.seen.append((time.time(), seen))
                self._changed.set()
                if isinstance(seen, Concluded):
                    await seen.confirm()
        self._changed.set()
