"""What every stream pipe does, tried over the in-memory host."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import HostRefused, HostUnreachable, ProtocolError
from airflow_supervisor_jobs.hosts import stream
from airflow_supervisor_jobs.hosts.stream import in_empty_context
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script
from tests.services.waiting import eventually, one_turn

SPEC = {"job": "j", "hash": "1", "processes": [{"process": "p", "program": "p", "group": "j"}]}


async def watched(pipe: MemoryPipe) -> int:
    await pipe.request("install", spec=SPEC, owner=None, if_running="adopt")
    await pipe.request("start_supervisord", job="j")
    answer = await pipe.request("watch", job="j", owner=None, consumer=None, logs=True, start="cursor", credit=10**6)
    return int(answer["sub"])


async def begin(pipe: MemoryPipe) -> None:
    await pipe.request("start", job="j", owner=None, programs=None, if_running="adopt")


async def test_events_that_come_before_anybody_reads_are_kept() -> None:
    async with MemoryPipe(MemoryHost(scripts={"p": Script(lines=("one",))})) as pipe:
        sub = await watched(pipe)
        await begin(pipe)
        await pipe.request("ping")
        kinds = []
        async for event in pipe.events(sub):
            kinds.append(event["event"])
            if event["event"] == "state" and event["process"]["phase"] == "ended":
                break
        assert kinds == ["state", "log", "state"]


async def test_a_host_that_falls_silent_is_unreachable_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 2)
    host = MemoryHost()
    async with MemoryPipe(host) as pipe:
        sub = await watched(pipe)
        host.silent = True
        request = asyncio.ensure_future(pipe.request("ping"))
        event = asyncio.ensure_future(anext(pipe.events(sub)))
        done, waiting = await asyncio.wait({request, event}, timeout=30)
        assert not waiting
        for one in done:
            with pytest.raises(HostUnreachable, match="silent for 2 s"):
                one.result()
        assert pipe.broken


async def test_an_idle_pipe_is_kept_alive_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 3)
    monkeypatch.setattr(stream, "PING_INTERVAL", 1)
    pinged = asyncio.Event()
    count = 0

    class Counting(MemoryHost):
        def answer(self, verb: str, params: dict[str, Any]) -> dict[str, Any]:
            nonlocal count
            count += verb == "ping"
            if count > 3:
                pinged.set()
            return super().answer(verb, params)

    async with MemoryPipe(Counting()) as pipe:
        await asyncio.wait_for(pinged.wait(), 30)
        assert not pipe.broken


async def test_nonsense_from_the_host_breaks_the_pipe() -> None:
    host = MemoryHost()
    async with MemoryPipe(host) as pipe:
        sub = await watched(pipe)
        (channel,) = host.channels
        channel.send({"id": 4711, "result": {}})
        with pytest.raises(ProtocolError, match="nothing that was asked"):
            await anext(pipe.events(sub))
        with pytest.raises(ProtocolError):
            await pipe.request("ping")


async def test_events_without_a_reader_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_WAITING", 1000)
    host = MemoryHost()
    async with MemoryPipe(host) as pipe:
        await watched(pipe)
        (channel,) = host.channels
        for _ in range(50):
            channel.send({"event": "gone", "sub": 77})
        with pytest.raises(ProtocolError, match="wait for their readers"):
            await pipe.request("ping")


class Counting(MemoryHost):
    """Keeps what the client says has arrived."""

    def __init__(self) -> None:
        super().__init__(scripts={"p": Script(holds=True)})
        self.arrived: list[int] = []

    async def flood(self, pipe: MemoryPipe, size: int) -> None:
        """Have the process write so much, and the client have heard it."""
        self.jobs["j"].processes["p"].write(b"x" * size, time=1.0)
        await pipe.request("ping")

    def answer(self, verb: str, params: dict[str, Any]) -> dict[str, Any]:
        if verb == "received":
            self.arrived.append(params["bytes"])
            return {}
        return super().answer(verb, params)


async def test_the_agent_is_told_how_much_of_the_logs_has_arrived_whether_or_not_anybody_reads_it() -> None:
    host = Counting()
    async with MemoryPipe(host) as pipe:
        await watched(pipe)
        await begin(pipe)
        await host.flood(pipe, 1000)
        assert not host.arrived
        await host.flood(pipe, 30_000)
        await eventually(lambda: sum(host.arrived) > 31_000 * 4 / 3, last_seen=lambda: host.arrived)


async def test_what_waits_for_its_readers_is_more_than_enough_and_the_agent_is_not_asked_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "ENOUGH_WAITING", 10_000)
    host = Counting()
    async with MemoryPipe(host) as pipe:
        sub = await watched(pipe)
        await begin(pipe)
        for _ in range(3):
            await host.flood(pipe, 30_000)
        await pipe.request("ping")
        assert not host.arrived
        async for event in pipe.events(sub):
            if event["event"] == "log" and event["position"] + 30_000 == 90_000:
                break
        await eventually(lambda: sum(host.arrived) > 90_000 * 4 / 3, last_seen=lambda: host.arrived)


async def test_events_of_a_watch_that_was_left_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_WAITING", 1000)
    host = MemoryHost()
    async with MemoryPipe(host) as pipe:
        sub = await watched(pipe)
        pipe.forget(sub)
        (channel,) = host.channels
        for _ in range(50):
            channel.send({"event": "gone", "sub": sub})
        assert await pipe.request("ping")


async def test_a_request_that_was_given_up_harms_nobody() -> None:
    async with MemoryPipe(MemoryHost()) as pipe:
        given_up = asyncio.ensure_future(pipe.request("ping"))
        await one_turn()
        given_up.cancel()
        assert await pipe.request("ping")


async def test_trouble_on_the_way_is_raised_by_open() -> None:
    host = MemoryHost()
    host.trouble = HostRefused("no", host="memory")
    with pytest.raises(HostRefused):
        await MemoryPipe(host).open()


async def test_a_host_that_does_not_answer_in_time_is_unreachable() -> None:
    host = MemoryHost()
    host.silent = True
    pipe = MemoryPipe(host)
    pipe.settings = type(pipe.settings)(host="memory", start_timeout=0.1)
    with pytest.raises(HostUnreachable, match="no agent answered"):
        await pipe.open()
    assert not host.channels


async def test_nothing_of_the_openers_context_reaches_the_pipes_tasks() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    class Curious(MemoryPipe):
        async def _listen(self, *args: Any) -> None:
            seen.append(name.get())
            await super()._listen(*args)

        async def _pulse(self) -> None:
            seen.append(name.get())
            await super()._pulse()

    name.set("the first job")
    async with Curious(MemoryHost()) as pipe:
        assert await pipe.request("ping")
    assert seen == ["nobody", "nobody"]

    async def look() -> str:
        return name.get()

    assert await in_empty_context(look()) == "nobody"
