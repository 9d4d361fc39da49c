"""Patience with a host that turns us away before it has looked at us."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

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
