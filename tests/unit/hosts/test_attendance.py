"""What keeps a subscription alive, in its parts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_supervisor_jobs.hosts.attendance import jittered_delay_s, within


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_double_up_to_a_minute_and_never_all_at_once(attempt: int, chance: float) -> None:
    ceiling = min(60.0, 0.5 * 2.0 ** min(attempt, 7))
    assert ceiling / 2 <= jittered_delay_s(attempt, draw=lambda: chance) <= ceiling


async def test_within_returns_what_came_in_time() -> None:
    async def work() -> int:
        return 7

    assert await within(5, work()) == 7


async def test_within_gives_up_and_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, work())
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_cancellation_that_comes_with_the_answer_is_not_swallowed() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await answer

    waiting = asyncio.create_task(within(5, work()))
    asyncio.get_running_loop().call_soon(answer.set_result, None)
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(waiting.cancel))
    with pytest.raises(asyncio.CancelledError):
        await waiting
