"""Patience with a host that turns us away before it has looked at us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from airflow_supervisor_jobs.exceptions import HostUnreachable

T = TypeVar("T")

#: Says at level INFO what is tried again.
log = logging.getLogger(__name__)

#: Seconds to go on when sshd drops us unauthenticated (MaxStartups: many come at once), and when nobody listens.
DROPPED_PATIENCE = 120
REFUSED_PATIENCE = 10
#: Seconds that a host which let us in may take to execute a command.
SESSION_WAIT = 30
#: How many handshakes an event loop has under way: with one sshd, which may drop us when it has 10 (MaxStartups), and
#: in all, so that each is over before somebody's patience is.
HANDSHAKES_WITH_ONE = 4
HANDSHAKES = 32
#: Seconds after which a handshake no longer counts among all: it waits for its host, and the others need not.
TURN_S = 5


class TurnedAway(HostUnreachable):
    """The connection was dropped or refused before anybody asked who we are: worth another try.

    :param patience: for how many seconds.
    """

    def __init__(self, message: str, *, host: str, patience: float) -> None:
        super().__init__(message, host=host)
        self.patience = patience


def broke_after_login(said: str, *, host: str) -> TurnedAway:
    """Return what to say of a connection that broke before the agent's command was executed: no order was given yet."""
    words = f"the connection broke before a command was executed ({said})."
    return TurnedAway(words, host=host, patience=DROPPED_PATIENCE)


def turn(address: tuple[str, int]) -> AbstractAsyncContextManager[None]:
    """Have the block be one of the few handshakes that are under way, with that sshd (name, port) and in all."""
    return _TURNS.setdefault(asyncio.get_running_loop(), _Turns()).of(address)


class _Turns:
    def __init__(self) -> None:
        self._all = asyncio.Semaphore(HANDSHAKES)
        self._with_one: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, address: tuple[str, int]) -> AsyncIterator[None]:
        with_one = self._with_one.setdefault(address, asyncio.Semaphore(HANDSHAKES_WITH_ONE))
        async with with_one:
            await self._all.acquire()
            with ExitStack() as place:
                place.callback(self._all.release)
                # Hosts that swallow everything must not use up the places of those that answer.
                giving_up = asyncio.get_running_loop().call_later(TURN_S, place.close)
                place.callback(giving_up.cancel)
                yield


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def patiently(dial: Callable[[], Awaitable[T]]) -> T:
    """Return what ``dial`` returns, tried again with capped, jittered pauses while it is :class:`TurnedAway`."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TurnedAway),
        stop=_out_of_patience,
        wait=_pause,
        before_sleep=_tell,
        reraise=True,
    )
    return await retrying(dial)


def _tell(state: RetryCallState) -> None:
    log.info("Trying again: %s", state.outcome.exception() if state.outcome else "")


def _out_of_patience(state: RetryCallState) -> bool:
    return _patience_left(state) <= 0


def _pause(state: RetryCallState) -> float:
    """Longer and longer, but never past the moment that patience ends: then comes the last try."""
    return min(_LONGER(state), _patience_left(state))


def _patience_left(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.patience - (state.seconds_since_start or 0) if isinstance(error, TurnedAway) else 0


_LONGER = wait_random_exponential(multiplier=0.5, max=8)
