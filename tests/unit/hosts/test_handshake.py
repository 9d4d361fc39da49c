"""Few handshakes at a time, with each sshd and in all; those that hang hold up nobody else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from airflow_supervisor_jobs.hosts import handshake
from airflow_supervisor_jobs.hosts.handshake import turn
from tests.services.waiting import eventually, one_turn

HOME = ("home", 22)


class Guests:
    """Handshakes that go on until each is told to end."""

    def __init__(self) -> None:
        self.under_way: set[int] = set()
        self.most = 0
        self.tasks: list[asyncio.Task[None]] = []
        self._end = asyncio.Event()

    def come(self, *addresses: tuple[str, int]) -> None:
        self.tasks += [asyncio.create_task(self._shake(number, each)) for number, each in enumerate(addresses)]

    async def are(self, count: int) -> None:
        """Return when that many are under way, and no more than that many have been."""
        await eventually(lambda: len(self.under_way) == count, last_seen=lambda: self.under_way)
        assert self.most == count

    async def leave(self) -> None:
        self._end.set()
        await asyncio.gather(*self.tasks)

    async def _shake(self, number: int, address: tuple[str, int]) -> None:
        async with turn(address):
            self.under_way.add(number)
            self.most = max(self.most, len(self.under_way))
            await self._end.wait()
            self.under_way.discard(number)


async def test_handshakes_with_one_sshd_are_few_and_all_come_to_it() -> None:
    guests = Guests()
    guests.come(*[HOME] * 20)
    await guests.are(handshake.HANDSHAKES_WITH_ONE)
    await guests.leave()
    assert guests.most == handshake.HANDSHAKES_WITH_ONE


async def test_handshakes_with_many_are_no_more_than_a_loop_can_bear() -> None:
    guests = Guests()
    guests.come(*[(f"host{number}", 22) for number in range(100)])
    await guests.are(handshake.HANDSHAKES)
    await guests.leave()
    assert guests.most == handshake.HANDSHAKES


async def test_who_hangs_keeps_their_place_with_that_sshd_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "TURN_S", 0)
    guests = Guests()
    guests.come(*[(f"host{number}", 22) for number in range(100)], *[HOME] * 20)
    await guests.are(100 + handshake.HANDSHAKES_WITH_ONE)
    await guests.leave()


async def test_a_place_is_free_again_whoever_had_it() -> None:
    async with AsyncExitStack() as stack:
        for _ in range(handshake.HANDSHAKES_WITH_ONE):
            await stack.enter_async_context(turn(HOME))
        waiting = asyncio.create_task(stack.enter_async_context(turn(HOME)))
        await one_turn()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    for _ in range(2 * handshake.HANDSHAKES):
        async with turn(HOME):
            pass
