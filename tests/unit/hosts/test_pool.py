"""The shared pipes of a triggerer."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.pool import Pool, pool
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script
from tests.services.waiting import eventually, one_turn

SPEC = {"job": "j", "hash": "1", "processes": [{"process": "p", "program": "p", "group": "j"}]}
HERE, THERE = HostSettings(host="here"), HostSettings(host="there")


def pool_of(host: MemoryHost, *, linger: float = 30) -> Pool:
    return Pool(open_pipe=lambda settings: MemoryPipe(host), linger=linger)


async def test_many_askers_share_one_pipe_that_is_opened_once() -> None:
    host = MemoryHost()
    shared = pool_of(host)

    async def use() -> None:
        async with shared.pipe(HERE) as pipe:
            await pipe.request("ping")

    await asyncio.gather(*(use() for _ in range(50)))
    await use()
    assert host.opened == 1


async def test_other_settings_are_another_pipe() -> None:
    host = MemoryHost()
    shared = pool_of(host)
    async with shared.pipe(HERE), shared.pipe(THERE):
        assert host.opened == 2


async def test_it_is_closed_a_little_after_its_last_user_left() -> None:
    host = MemoryHost()
    shared = pool_of(host, linger=0)
    async with shared.pipe(HERE):
        async with shared.pipe(HERE):
            pass
        assert len(host.channels) == 1
    await eventually(lambda: not host.channels, last_seen=lambda: host.channels)
    async with shared.pipe(HERE) as pipe:
        assert await pipe.request("ping")
    assert host.opened == 2


async def test_a_broken_pipe_is_dropped_and_the_next_asker_opens_anew() -> None:
    host = MemoryHost()
    shared = pool_of(host)
    async with shared.pipe(HERE) as first:
        host.cut()
        with pytest.raises(HostUnreachable):
            await first.request("ping")
        async with shared.pipe(HERE) as second, shared.pipe(HERE) as third:
            assert await second.request("ping")
            assert await third.request("ping")
        assert host.opened == 2


async def test_all_who_wait_for_one_that_does_not_open_are_told_and_the_next_one_tries_again() -> None:
    host = MemoryHost()
    host.trouble = HostUnreachable("gone fishing", host="here")
    shared = pool_of(host)

    async def use() -> None:
        async with shared.pipe(HERE):
            pass

    results = await asyncio.gather(*(use() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [HostUnreachable] * 5
    host.trouble = None
    await use()
    assert host.opened == 1


async def test_an_asker_that_gives_up_does_not_harm_the_others() -> None:
    host = MemoryHost()
    shared = pool_of(host)

    async def use() -> bool:
        async with shared.pipe(HERE) as pipe:
            return bool(await pipe.request("ping"))

    hasty, patient = asyncio.ensure_future(use()), asyncio.ensure_future(use())
    await one_turn()
    hasty.cancel()
    assert await asyncio.wait_for(patient, 30)
    assert host.opened == 1


async def test_who_leaves_takes_only_their_own_watches_along() -> None:
    host = MemoryHost(scripts={"p": Script(holds=True)})
    shared = pool_of(host)
    ask = {"job": "j", "owner": None, "consumer": None, "logs": True, "start": "cursor", "credit": 1000}
    async with shared.pipe(HERE) as stays:
        await stays.request("install", spec=SPEC, owner=None, if_running="adopt")
        await stays.request("start_supervisord", job="j")
        kept = await stays.request("watch", **ask)
        async with shared.pipe(HERE) as leaves:
            left = await leaves.request("watch", **ask)
        (channel,) = host.channels
        await eventually(lambda: list(channel._watches) == [kept["sub"]], last_seen=lambda: channel._watches)
        assert left["sub"] != kept["sub"]
        await stays.request("start", job="j", owner=None, programs=None, if_running="adopt")
        event = await asyncio.wait_for(anext(stays.events(kept["sub"])), 30)
        assert event["event"] == "state"


async def test_a_watch_whose_asker_was_cancelled_before_the_answer_is_ended() -> None:
    may_answer = asyncio.Event()

    class Slow(MemoryPipe):
        async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
            answer = await super().request(verb, **params)
            if verb == "watch":
                await may_answer.wait()
            return answer

    host = MemoryHost(scripts={"p": Script(holds=True)})
    ask = {"job": "j", "owner": None, "consumer": None, "logs": True, "start": "cursor", "credit": 1000}
    async with Pool(open_pipe=lambda settings: Slow(host)).pipe(HERE) as pipe:
        await pipe.request("install", spec=SPEC, owner=None, if_running="adopt")
        asking = asyncio.ensure_future(pipe.request("watch", **ask))
        (channel,) = host.channels
        await eventually(lambda: len(channel._watches) == 1, last_seen=lambda: channel._watches)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        may_answer.set()
        await eventually(lambda: not channel._watches, last_seen=lambda: channel._watches)


async def test_the_first_askers_context_is_not_the_pipes() -> None:
    job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default="none")
    seen: list[str] = []

    class Curious(MemoryPipe):
        async def _connect(self):  # type: ignore[no-untyped-def]
            seen.append(job.get())
            return await super()._connect()

    job.set("the first job")
    shared = Pool(open_pipe=lambda settings: Curious(MemoryHost()))
    async with shared.pipe(HERE):
        pass
    assert seen == ["none"]


def test_each_event_loop_has_pipes_of_its_own_and_none_outlives_its_loop() -> None:
    host = MemoryHost()
    shared = pool_of(host)

    async def use() -> None:
        async with shared.pipe(HERE) as pipe:
            await pipe.request("ping")

    asyncio.run(use())
    assert not host.channels
    asyncio.run(use())
    assert host.opened == 2
    assert not host.channels


def test_a_process_has_one_pool() -> None:
    assert pool() is pool()
