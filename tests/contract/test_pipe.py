"""What every pipe must do, whatever carries its bytes."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import AgentError, HostUnreachable, JobBusy
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.testing import Script
from tests.contract.conftest import Way

ME = {"run": "mine"}
YOU = {"run": "yours"}
PATIENCE = 30


class Witness:
    """Follows a watch and keeps what it said."""

    def __init__(self, pipe: Pipe, sub: int) -> None:
        self.pipe = pipe
        self.sub = sub
        self.events: list[dict[str, Any]] = []
        self.output: dict[tuple[str, str], bytes] = defaultdict(bytes)
        self.status: dict[str, dict[str, Any]] = {}
        self._stream = pipe.events(sub)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read events until the condition holds; what was last seen is in the failure's message."""
        try:
            while not condition():
                self._take(await asyncio.wait_for(anext(self._stream), PATIENCE))
        except (asyncio.TimeoutError, StopAsyncIteration):
            ends = {key: (len(data), data[-60:]) for key, data in self.output.items()}
            last = [str(event)[:500] for event in self.events[-3:]]
            pytest.fail(f"Waited in vain. Length and end of the output: {ends}. Last events: {last}")

    async def until_ended(self, process: str = "p") -> dict[str, Any]:
        """Read events until the process has ended and return its status."""
        await self.until(lambda: self.status.get(process, {}).get("phase") == "ended")
        return self.status[process]

    async def until_written(self, data: bytes, *, process: str = "p", stream: str = "stdout") -> None:
        """Read events until exactly ``data`` has come."""
        await self.until(lambda: len(self.output[process, stream]) >= len(data))
        assert self.output[process, stream] == data

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["event"] == "log":
            self.output[event["process"], event["stream"]] += base64.b64decode(event["data"])
        elif event["event"] == "state":
            self.status[event["process"]["process"]] = event["process"]


async def watch(pipe: Pipe, *, credit: int = 1_000_000, start: str = "cursor") -> Witness:
    answer = await pipe.request("watch", job="job", owner=ME, consumer="test", logs=True, start=start, credit=credit)
    witness = Witness(pipe, answer["sub"])
    witness.status = {process["process"]: process for process in answer["job"]["processes"]}
    return witness


async def install(pipe: Pipe, spec: dict[str, Any]) -> None:
    await pipe.request("install", spec=spec, owner=ME, if_running="adopt")
    await pipe.request("start_supervisord", job="job")


async def start(pipe: Pipe, *, owner: dict[str, str] = ME, if_running: str = "adopt") -> dict[str, dict[str, Any]]:
    answer = await pipe.request("start", job="job", owner=owner, programs=None, if_running=if_running)
    return {process["process"]: process for process in answer["processes"]}


async def stop(pipe: Pipe, *, owner: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    answer = await pipe.request("stop", job="job", owner=owner, programs=None, by="the test", reason="stopped")
    return {process["process"]: process for process in answer["processes"]}


@asynccontextmanager
async def tidy(way: Way) -> AsyncIterator[Pipe]:
    """Lend an open pipe, and let nothing run afterwards, over a new one if need be."""
    try:
        async with way.open() as pipe:
            yield pipe
    finally:
        async with way.open() as pipe:
            await stop(pipe)
            await pipe.request("remove", job="job", owner=None, purge=True)
            await pipe.request("stop_supervisord", job="job", owner=None)


async def test_hello_says_who_answers(way: Way) -> None:
    pipe = way.open()
    hello = await pipe.open()
    await pipe.close()
    assert hello["supervisord"]["source"] is not None
    assert hello["root"]
    assert hello["boot_id"]


async def test_a_job_is_installed_started_watched_and_its_end_is_known(way: Way) -> None:
    spec = way.spec("job", p=Script(lines=("one", "two"), errors=("oh",), exit_code=3))
    async with tidy(way) as pipe:
        installed = await pipe.request("install", spec=spec, owner=ME, if_running="adopt")
        again = await pipe.request("install", spec=spec, owner=ME, if_running="adopt")
        assert (installed["changed"], again["changed"]) == (True, False)
        await pipe.request("start_supervisord", job="job")
        witness = await watch(pipe)
        assert witness.status["p"]["phase"] == "new"
        started = await start(pipe)
        assert started["p"]["action"] == "started"
        ended = await witness.until_ended()
        await witness.until_written(b"one\ntwo\n")
        await witness.until_written(b"oh\n", stream="stderr")
        assert (ended["exit_code"], ended["signal"], ended["generation"]) == (3, None, 1)
        assert ended["record"]["reason"] == "exited"
        assert ended["positions"] == {"stdout": {"start": 0, "end": 8}, "stderr": {"start": 0, "end": 3}}


async def test_a_signal_is_told_from_an_exit(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(signal=int(signal.SIGKILL))))
        witness = await watch(pipe)
        await start(pipe)
        ended = await witness.until_ended()
        assert (ended["exit_code"], ended["signal"]) == (None, signal.SIGKILL)


async def test_stop_ends_it_and_says_who_did(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=("up",), holds=True)))
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_written(b"up\n")
        stopped = await stop(pipe, owner=ME)
        assert stopped["p"]["action"] == "stopped"
        assert stopped["p"]["survivors"] == []
        ended = await witness.until_ended()
        assert ended["record"]["reason"] == "stopped"
        assert ended["record"]["stop"]["by"] == "the test"
        assert (await stop(pipe, owner=ME))["p"]["action"] == "not_running"


async def test_start_adopts_reports_and_starts_anew(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(holds=True)))
        first = await start(pipe)
        second = await start(pipe)
        assert (first["p"]["action"], second["p"]["action"]) == ("started", "adopted")
        assert second["p"]["pid"] == first["p"]["pid"]
        await stop(pipe, owner=None)
        assert (await start(pipe))["p"]["action"] == "ended"
        await pipe.request("ack", job="job", consumer="test", positions={}, reported={"p": 1})
        third = await start(pipe)
        assert (third["p"]["action"], third["p"]["generation"]) == ("started", 2)
        restarted = await pipe.request("restart", job="job", owner=ME, programs=None, if_running="adopt", by="test")
        assert restarted["processes"][0]["generation"] == 3
        await stop(pipe, owner=ME)
        assert (await start(pipe))["p"]["action"] == "started"


async def test_another_owner_is_told_so(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(holds=True)))
        await start(pipe)
        witness = await watch(pipe)
        with pytest.raises(JobBusy) as busy:
            await start(pipe, owner=YOU, if_running="fail")
        assert (busy.value.code, busy.value.job) == ("busy", "job")
        adopted = await start(pipe, owner=YOU)
        assert adopted["p"]["action"] == "adopted"
        await witness.until(lambda: any(event["event"] == "owner" for event in witness.events))
        with pytest.raises(AgentError) as refused:
            await stop(pipe, owner=ME)
        assert refused.value.code == "not_owner"


async def test_refusals_have_their_codes(way: Way) -> None:
    async with tidy(way) as pipe:
        with pytest.raises(AgentError) as unknown:
            await start(pipe)
        assert unknown.value.code == "not_installed"
        await install(pipe, way.spec("job", p=Script(holds=True)))
        with pytest.raises(AgentError) as nonsense:
            await pipe.request("dance", job="job")
        assert nonsense.value.code == "bad_request"
        with pytest.raises(AgentError) as program:
            await pipe.request("stop", job="job", owner=ME, programs=["q"], by="test", reason="stopped")
        assert program.value.code == "bad_request"
        await start(pipe)
        with pytest.raises(AgentError) as running:
            await pipe.request("remove", job="job", owner=ME, purge=True)
        assert running.value.code == "running"


async def test_a_new_watch_goes_on_where_the_last_was_acknowledged(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=("one", "two", "three"))))
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_written(b"one\ntwo\nthree\n")
        await pipe.request("ack", job="job", consumer="test", positions={"p": {"stdout": 4}}, reported={})
    # tidy() has purged it; what follows must not see the old cursor
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=("one", "two", "three"))))
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_written(b"one\ntwo\nthree\n")
        await pipe.request("ack", job="job", consumer="test", positions={"p": {"stdout": 4}}, reported={})
        async with way.open() as other:
            resumed = await watch(other)
            await resumed.until_written(b"two\nthree\n")
            late = await watch(other, start="beginning")
            await late.until_written(b"one\ntwo\nthree\n")


async def test_a_broken_pipe_is_unreachable_and_the_job_goes_on(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=("up",), holds=True)))
        witness = await watch(pipe)
        before = await start(pipe)
        await witness.until_written(b"up\n")
        waiting = asyncio.ensure_future(witness.until(lambda: False))
        await asyncio.to_thread(way.cut) if way.memory is None else way.cut()
        with pytest.raises(HostUnreachable):
            await asyncio.wait_for(waiting, PATIENCE)
        with pytest.raises(HostUnreachable):
            await pipe.request("ping")
        async with way.open() as other:
            resumed = await watch(other)
            assert resumed.status["p"]["pid"] == before["p"]["pid"]
            await resumed.until_written(b"up\n")


async def test_bytes_arrive_as_they_were_written(way: Way) -> None:
    data = bytes(range(256)) * 40 + b"\xff\xfe half a character: \xc3"
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=(data,))))
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_written(data)


async def test_no_more_output_comes_than_credit_was_given(way: Way) -> None:
    data = b"0123456789" * 1000
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=(data,))))
        witness = await watch(pipe, credit=4000)
        await start(pipe)
        await witness.until_ended()
        await witness.until_written(data[:4000])
        await pipe.request("credit", sub=witness.sub, bytes=2500)
        await witness.until_written(data[:6500])
        await pipe.request("credit", sub=witness.sub, bytes=1_000_000)
        await witness.until_written(data)


async def test_a_large_request_arrives_whole(way: Way) -> None:
    argument = "ä" * 50_000
    spec = way.spec("job", p=Script(lines=("up",)))
    spec["processes"][0]["argv"].append(argument)
    async with tidy(way) as pipe:
        await install(pipe, spec)
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_written(b"up\n")
        assert (await witness.until_ended())["exit_code"] == 0


async def test_logs_are_read_by_position_and_by_lines(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script(lines=("one", "two", "three"))))
        witness = await watch(pipe)
        await start(pipe)
        await witness.until_ended()
        ask = {"job": "job", "process": "p", "stream": "stdout", "since": None, "generation": None}
        page = await pipe.request("logs", **ask, position=0, tail=None, limit=5)
        rest = await pipe.request("logs", **ask, position=page["next"], tail=None, limit=1000)
        last = await pipe.request("logs", **ask, position=None, tail=1, limit=1000)
        texts = [b"".join(base64.b64decode(chunk["data"]) for chunk in one["chunks"]) for one in (page, rest, last)]
        assert texts == [b"one\nt", b"wo\nthree\n", b"three\n"]
        assert (rest["next"], rest["end"]) == (14, 14)


async def test_many_ask_and_watch_at_once(way: Way) -> None:
    scripts = {f"p{number}": Script(lines=(f"I am {number}",), exit_code=number) for number in range(5)}
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", **scripts))
        witnesses = await asyncio.gather(*(watch(pipe) for _ in range(5)))
        assert len({witness.sub for witness in witnesses}) == 5
        await start(pipe)
        answers = await asyncio.gather(*(pipe.request("status", job="job") for _ in range(20)))
        assert {len(answer["jobs"][0]["processes"]) for answer in answers} == {5}
        for witness in witnesses:
            for number in range(5):
                await witness.until_written(f"I am {number}\n".encode(), process=f"p{number}")
                assert (await witness.until_ended(f"p{number}"))["exit_code"] == number


async def test_a_removed_job_is_gone_for_its_watches(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script()))
        witness = await watch(pipe)
        await pipe.request("remove", job="job", owner=ME, purge=True)
        await witness.until(lambda: any(event["event"] == "gone" for event in witness.events))


async def test_closing_ends_events_quietly(way: Way) -> None:
    async with tidy(way) as pipe:
        await install(pipe, way.spec("job", p=Script()))
        other = way.open()
        await other.open()
        witness = await watch(other)
        await other.close()
        rest = [event async for event in other.events(witness.sub)]
        assert rest == []
        with pytest.raises(HostUnreachable):
            await other.request("ping")
