"""The watch, against a host that does as it is told."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.exceptions import AgentError, ConfigError, HostUnreachable
from airflow_supervisor_jobs.hosts import flow
from airflow_supervisor_jobs.hosts import watch as module
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.watch import Changed, Concluded, Contact, Observation, Output, Target, watch

POLICY = WatchPolicy(host="trading-1", job="market_feed")
OWNER = {"run_id": "a"}
MINE = Target("market_feed", owner=OWNER, consumer="task")


class Host:
    """What a host has of one job, and what it was asked."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {
            "job": "market_feed",
            "program": "feed",
            "process": "feed",
            "group": "market_feed",
            "state": "RUNNING",
            "phase": "running",
            "pid": 7,
            "generation": 1,
            "owner": OWNER,
            "started_at": 100.0,
            "stdout": "/logs/stdout.log",
            "stderr": None,
            "positions": {"stdout": {"start": 0, "end": 0}, "stderr": None},
        }
        self.owner: Mapping[str, str] | None = OWNER
        self.output = b""
        self.start = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pipe: ScriptedPipe | None = None
        self.refuses: Exception | None = None
        self.connections = 0
        self.changed = asyncio.Event()

    @asynccontextmanager
    async def pipes(self) -> AsyncIterator[Pipe]:
        self.connections += 1
        self.changed.set()
        if self.refuses is not None:
            raise self.refuses
        async with ScriptedPipe(self) as pipe:
            yield pipe

    def write(self, data: bytes, *, lost: int = 0) -> None:
        position = len(self.output) + lost
        self.output += b"?" * lost + data
        self.status = {**self.status, "positions": {"stdout": {"start": 0, "end": len(self.output)}}}
        self.send(log_of(data, position, lost))

    def end(self, code: int, *, complete: bool = True) -> None:
        record = {"generation": 1, "reason": "exited", "exit_code": code, "complete": complete}
        record["positions"] = {"stdout": len(self.output)}  # type: ignore[assignment]
        self.status["positions"] = {"stdout": {"start": 0, "end": len(self.output)}, "stderr": None}
        self.change(phase="ended", state="EXITED", pid=None, exit_code=code, ended_at=160.0, record=record)

    def change(self, **fields: Any) -> None:
        self.status = {**self.status, **fields}
        self.send({"event": "state", "sub": 1, "process": self.status})

    def send(self, event: dict[str, Any]) -> None:
        if self.pipe is not None:
            self.pipe.inbox.put_nowait(event)

    def cut(self) -> None:
        assert self.pipe is not None
        self.pipe.is_broken = True
        self.pipe.inbox.put_nowait(HostUnreachable("the connection broke", host="trading-1"))
        self.pipe = None

    def params(self, verb: str) -> list[dict[str, Any]]:
        return [params for name, params in self.asked if name == verb]

    async def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not what():
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                raise AssertionError(f"it did not come to that; the host was asked {self.asked}") from None


class ScriptedPipe(Pipe):
    """A pipe to a :class:`Host`."""

    def __init__(self, host: Host) -> None:
        self.host = "trading-1"
        self.served = host
        self.is_broken = False
        self.inbox: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()

    async def open(self) -> Mapping[str, Any]:
        return {}

    async def close(self) -> None:
        pass

    async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
        host = self.served
        if self.is_broken:
            raise HostUnreachable("the connection broke", host="trading-1")
        host.asked.append((verb, params))
        host.changed.set()
        if verb == "ping":
            return {"now": 160.0}
        if verb == "watch":
            return self.subscribe(params)
        if verb == "logs":
            chunk = log_of(host.output, 0, 0)
            return {"chunks": [chunk], "next": len(host.output), "end": len(host.output), "lost": 0}
        return {}

    def subscribe(self, params: dict[str, Any]) -> dict[str, Any]:
        host = self.served
        if host.status is None:
            raise AgentError("no such job", code="not_installed")
        start = params["start"]["feed"]["stdout"] if isinstance(params["start"], dict) else host.start
        host.pipe = self
        if host.output[start:]:
            self.inbox.put_nowait(log_of(host.output[start:], start, 0))
        return {
            "sub": 1,
            "job": {"job": "market_feed", "owner": host.owner, "processes": [host.status]},
            "from": {"feed": {"stdout": start}},
        }

    async def events(self, sub: int) -> AsyncIterator[dict[str, Any]]:
        while True:
            event = await self.inbox.get()
            if isinstance(event, Exception):
                raise event
            yield event


def log_of(data: bytes, position: int, lost: int) -> dict[str, Any]:
    return {
        "event": "log",
        "sub": 1,
        "process": "feed",
        "stream": "stdout",
        "generation": 1,
        "position": position,
        "time": 101.0,
        "data": base64.b64encode(data).decode(),
        "lost": lost,
    }


class Watching:
    """A watch that runs beside the test and keeps what it saw."""

    def __init__(self, host: Host, target: Target = MINE, policy: WatchPolicy = POLICY, **options: Any) -> None:
        self.seen: list[Observation] = []
        self.host = host
        options = {"clock": lambda: 160.0, "delays": lambda attempt: 0.0, **options}
        self.task = asyncio.create_task(self._run(watch(target, policy, pipes=host.pipes, **options)))
        self.task.add_done_callback(lambda _task: host.changed.set())

    async def _run(self, observations: AsyncIterator[Observation]) -> None:
        async with aclosing(observations) as watching:
            async for observation in watching:
                self.seen.append(observation)
                self.host.changed.set()
                if isinstance(observation, Concluded):
                    await observation.confirm()

    async def ended(self) -> Concluded:
        await asyncio.wait_for(self.task, 30)
        assert isinstance(self.seen[-1], Concluded), self.seen
        return self.seen[-1]

    @property
    def texts(self) -> list[str]:
        return [seen.text for seen in self.seen if isinstance(seen, Output)]

    @property
    def contacts(self) -> list[bool]:
        return [seen.reachable for seen in self.seen if isinstance(seen, Contact)]


async def test_a_job_from_the_first_look_to_its_end() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: len(watching.seen) == 2)
    assert watching.seen[0] == Contact(reachable=True)
    assert isinstance(watching.seen[1], Changed)

    host.write(b"one\ntw")
    host.write(b"o\nrest")
    host.end(0)

    concluded = await watching.ended()
    assert concluded.judgement.verdict is Verdict.FINISHED
    assert watching.texts == ["one", "two", "rest"]
    assert host.params("ack")[-1] == {
        "job": "market_feed",
        "consumer": "task",
        "positions": {"feed": {"stdout": 12}},
        "reported": {"feed": 1},
    }
    await host.until(lambda: host.asked[-1][0] == "unwatch")


async def test_the_exit_is_told_before_the_lines_that_are_under_way() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    for _ in range(100):
        host.write(b"line\n")
    host.end(3)

    concluded = await watching.ended()

    kinds = [type(seen) for seen in watching.seen]
    assert kinds.index(Changed, 2) < kinds.index(Output)
    assert watching.texts == ["line"] * 100
    assert "exited with 3 (last line: line). Full log: /logs/stdout.log" in concluded.judgement.message


async def test_the_end_waits_for_output_that_the_record_tells_of() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    late = b"the last words\n"
    host.output += late
    host.end(0)
    await host.until(lambda: any(isinstance(seen, Changed) and seen.status.has_ended for seen in watching.seen))

    host.send(log_of(late, 0, 0))

    await watching.ended()
    assert watching.texts == ["the last words"]


async def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.1)
    host = Host()
    host.output = b"never to be sent"
    host.start = len(host.output)
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    host.output += b"either"
    host.end(0, complete=False)

    concluded = await watching.ended()

    assert concluded.judgement.verdict is Verdict.FINISHED
    assert watching.texts == ["[the rest of its output has not arrived: the full log is on the host]"]


async def test_what_ended_before_the_watch_is_reported() -> None:
    host = Host()
    host.output = b"long ago\n"
    host.start = len(host.output)
    host.end(3)

    concluded = await Watching(host).ended()

    assert concluded.judgement.exit_code == 3
    assert concluded.judgement.last_lines == ("long ago",)
    assert len(host.params("logs")) == 1


async def test_what_wrote_nothing_is_not_asked_for_its_last_lines() -> None:
    host = Host()
    host.end(3)

    concluded = await Watching(host).ended()

    assert concluded.judgement.last_lines == ()
    assert host.params("logs") == []


async def test_the_last_lines_of_both_streams_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.1)
    host = Host()
    host.output = b"long ago\n"
    host.start = len(host.output)
    host.status["stderr"] = "/logs/stderr.log"
    host.end(3)
    host.status["positions"] = {stream: {"start": 0, "end": 9} for stream in ("stdout", "stderr")}
    both_asked = asyncio.Event()
    answer = ScriptedPipe.request

    async def hold(pipe: ScriptedPipe, verb: str, /, **params: Any) -> dict[str, Any]:
        answered = await answer(pipe, verb, **params)
        if {one["stream"] for one in host.params("logs")} == {"stdout", "stderr"}:
            both_asked.set()
        if verb == "logs":
            await asyncio.wait_for(both_asked.wait(), 30)
        return answered

    monkeypatch.setattr(ScriptedPipe, "request", hold)
    assert (await Watching(host).ended()).judgement.last_lines == ("long ago",)


async def test_an_outage_fails_nothing_and_the_output_goes_on_where_it_stopped() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    host.write(b"one\ntw")
    await host.until(lambda: watching.texts == ["one"])

    host.refuses = HostUnreachable("no route", host="trading-1")
    host.cut()
    await host.until(lambda: host.connections > 5)
    assert watching.contacts == [True, False]
    host.output += b"o\nthree\n"
    host.end(0)
    host.refuses = None

    concluded = await watching.ended()
    assert concluded.judgement.verdict is Verdict.FINISHED
    assert watching.contacts == [True, False, True]
    assert watching.texts == ["one", "two", "three"]
    assert [params["start"] for params in host.params("watch")] == ["cursor", {"feed": {"stdout": 6}}]


async def test_a_host_out_of_sight_for_too_long() -> None:
    host = Host()
    host.refuses = HostUnreachable("no route", host="trading-1")

    concluded = await Watching(host, policy=WatchPolicy("trading-1", "market_feed", unreachable_timeout=0.05)).ended()

    assert concluded.judgement.verdict is Verdict.UNREACHABLE
    assert "no route" in concluded.judgement.message


async def test_nothing_is_decided_before_the_first_look() -> None:
    host = Host()
    host.end(0)
    policy = WatchPolicy("trading-1", "market_feed", check_timeout=10, endtime=150.0, watched_from=0.0)

    concluded = await Watching(host, policy=policy).ended()

    assert concluded.judgement.verdict is Verdict.FINISHED


@pytest.mark.parametrize(
    ("limits", "want"),
    [
        ({"runtime": 60.0}, Verdict.EXPIRED),
        ({"runtime": 61.0, "endtime": 160.0}, Verdict.EXPIRED),
        ({"check_timeout": 60.0, "watched_from": 99.0}, Verdict.TIMED_OUT),
    ],
)
async def test_limits_count_from_before_the_watch(limits: dict[str, float], want: Verdict) -> None:
    concluded = await Watching(Host(), policy=WatchPolicy("trading-1", "market_feed", **limits)).ended()  # type: ignore[arg-type]
    assert concluded.judgement.verdict is want


async def test_time_alone_ends_a_watch() -> None:
    policy = WatchPolicy("trading-1", "market_feed", runtime=60.05)
    concluded = await Watching(Host(), policy=policy).ended()
    assert concluded.judgement.verdict is Verdict.EXPIRED


async def test_another_owner() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)

    host.send({"event": "owner", "sub": 1, "owner": {"run_id": "b"}})
    host.change(owner={"run_id": "b"}, generation=2)

    assert (await watching.ended()).judgement.verdict is Verdict.SUPERSEDED


async def test_a_job_that_is_removed() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    host.send({"event": "gone", "sub": 1})
    assert (await watching.ended()).judgement.verdict is Verdict.LOST


async def test_a_job_that_is_not_there() -> None:
    host = Host()
    host.refuses = AgentError("no such job", code="not_installed", host="trading-1")
    assert (await Watching(host).ended()).judgement.verdict is Verdict.LOST


async def test_what_cannot_get_better_is_raised() -> None:
    host = Host()
    host.refuses = ConfigError("there is no connection 'ssh_x'")
    with pytest.raises(ConfigError, match="ssh_x"):
        await Watching(host).task


async def test_one_look_ends_when_all_so_far_was_handed_over() -> None:
    host = Host()
    host.output = b"one\ntwo\n"
    host.status["positions"] = {"stdout": {"start": 0, "end": 8}}

    watching = Watching(host, once=True)
    await watching.task

    assert watching.texts == ["one", "two"]
    assert not any(isinstance(seen, Concluded) for seen in watching.seen)
    assert host.params("ack")[-1]["positions"] == {"feed": {"stdout": 8}}


async def test_one_look_at_a_host_out_of_sight() -> None:
    host = Host()
    host.refuses = HostUnreachable("no route", host="trading-1")
    watching = Watching(host, once=True)
    await watching.task
    assert watching.contacts == [False]


async def test_one_look_at_a_job_that_has_ended() -> None:
    host = Host()
    host.end(0)
    assert (await Watching(host, once=True).ended()).judgement.verdict is Verdict.FINISHED


async def test_looks_in_turn_come_to_an_end_that_might_have_been_a_restart() -> None:
    host = Host()
    record = {"generation": 1, "reason": "terminated", "signal": 15, "positions": {"stdout": 0}}
    host.change(phase="ended", pid=None, signal=15, ended_at=158.0, record=record)

    first = Watching(host, once=True)
    await first.task
    assert not any(isinstance(seen, Concluded) for seen in first.seen)
    host.change(ended_at=156.0)
    assert (await Watching(host, once=True).ended()).judgement.verdict is Verdict.STOPPED


async def test_a_watch_without_a_consumer_moves_no_cursor() -> None:
    host = Host()
    host.output = b"one\n"
    host.end(0)
    await Watching(host, Target("market_feed")).ended()
    assert host.params("ack") == []


async def test_lines_are_acknowledged_some_time_after_they_were_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACK_AFTER_S", 0.05)
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)

    host.write(b"one\nunfinish")
    await host.until(lambda: bool(host.params("ack")))

    assert host.params("ack") == [
        {"job": "market_feed", "consumer": "task", "positions": {"feed": {"stdout": 4}}, "reported": {}}
    ]
    host.end(0)
    await watching.ended()


async def test_a_watch_that_is_left_keeps_what_was_handed_over() -> None:
    host = Host()
    host.output = b"one\ntwo\n"
    async with aclosing(watch(MINE, POLICY, pipes=host.pipes)) as watching:
        async for seen in watching:
            if isinstance(seen, Output) and seen.text == "two":
                break
    assert host.params("ack")[-1]["positions"] == {"feed": {"stdout": 4}}
    await host.until(lambda: host.asked[-1][0] == "unwatch")


async def test_credit_is_given_back() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    for _ in range(8):
        host.write(b"x" * 59_999 + b"\n")
    await host.until(lambda: bool(host.params("credit")))
    assert host.params("credit")[0]["bytes"] >= flow.CREDIT_BYTES // 4
    host.end(0)
    await watching.ended()


async def test_a_flood_leaves_the_loop_to_others() -> None:
    host = Host()
    watching = Watching(host)
    await host.until(lambda: host.pipe is not None)
    loop = asyncio.get_running_loop()
    handed_over: list[int] = []

    def turn() -> None:
        handed_over.append(len(watching.seen))
        if not watching.task.done():
            loop.call_soon(turn)

    turn()
    host.write(b"\n" * 30_000)
    host.end(0)
    await watching.ended()
    most_in_one_turn = max(after - before for before, after in pairwise(handed_over))
    assert most_in_one_turn < 3_000


async def test_programs_that_do_not_count_are_left_out() -> None:
    host = Host()
    host.output = b"one\n"
    host.end(3)
    watching = Watching(host, Target("market_feed", programs=("other",)), once=True)
    await watching.task
    assert watching.seen == [Contact(reachable=True)]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_confirming_when_the_pipe_has_broken(comes_back: bool) -> None:
    host = Host()
    host.end(3)
    async with aclosing(watch(MINE, POLICY, pipes=host.pipes, delays=lambda _: 60.0)) as watching:
        async for seen in watching:
            if isinstance(seen, Concluded):
                host.cut()
                host.refuses = None if comes_back else HostUnreachable("no route", host="trading-1")
                assert await seen.confirm() is comes_back
    assert [params["reported"] for params in host.params("ack")] == ([{"feed": 1}] if comes_back else [])


async def test_a_superseded_owner_reports_nothing() -> None:
    host = Host()
    host.owner = {"run_id": "b"}
    host.status["owner"] = host.owner
    host.end(0)

    concluded = await Watching(host).ended()

    assert concluded.judgement.verdict is Verdict.SUPERSEDED
    assert host.params("ack") == []
