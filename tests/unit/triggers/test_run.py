"""The triggers against a real agent, without Airflow around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_supervisor_jobs.config import Host, Job, Program, render_spec
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.operators.configure import reachable_part
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script
from airflow_supervisor_jobs.triggers import programs, request, settle
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from airflow_supervisor_jobs.triggers.reach import worker_pipes
from airflow_supervisor_jobs.triggers.request import SupervisorRequestTrigger
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.waiting import eventually

OWNER = {"dag_id": "feed", "run_id": "r"}
TASK = {"dag_id": "feed", "run_id": "r", "task_id": "watch_programs", "map_index": -1}


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none to wait for."""
    monkeypatch.setattr(settle, "SETTLE_S", 0.0)


def pin_of(job: Job) -> Pin:
    return Pin(
        job=job.name,
        hash="",
        host=reachable_part(job),
        owner=OWNER,
        processes=tuple(process.process for process in job.processes),
        policy=WatchPolicy.for_job(job).to_dict(),
        if_running="adopt",
        maxretrigger=0,
        stop_on_exit=True,
        cleanup=False,
        reference_date="2026-01-02T00:00:00+00:00",
    )


async def started(job: Job) -> Pin:
    """The job's programs run."""
    async with worker_pipes(job.host)() as pipe:
        spec = await asyncio.to_thread(render_spec, job)
        await pipe.request("install", spec=spec, owner=OWNER, if_running="adopt")
        await pipe.request("start_supervisord", job=job.name)
        await pipe.request("start", job=job.name, owner=OWNER, programs=None, if_running="adopt")
    return pin_of(job)


async def phase(pin: Pin) -> str:
    async with worker_pipes(pin.resolved_host())() as pipe:
        status = await pipe.request("status", job=pin.job)
    return str(status["jobs"][0]["processes"][0]["phase"])


async def fired(events: AsyncIterator[TriggerEvent]) -> dict[str, Any]:
    """The one event of a trigger, which then ends."""
    found = [event.payload async for event in events]
    assert len(found) == 1
    return dict(found[0])


def feed(root: Path, command: str) -> Job:
    return Job(name="feed", host=Host(root=str(root)), programs={"feed": Program(command=command, shell=True)})


async def test_it_fires_once_with_the_verdict_and_the_records(root: Path) -> None:
    pin = await started(feed(root, "echo out; echo err >&2; exit 3"))
    event = await fired(SupervisorProgramsTrigger(pin=pin.to_dict(), task=TASK).run())
    assert event["format"] == 1
    assert event["judgement"]["verdict"] == "failed"
    assert event["judgement"]["last_lines"] == ["err"]
    assert event["records"]["feed"]["exit_code"] == 3


async def test_the_event_waits_for_no_answer_and_the_host_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_answer = asyncio.Event()

    class Slow(MemoryPipe):
        async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
            if verb in ("ack", "unwatch"):
                await may_answer.wait()
            return await super().request(verb, **params)

    host = MemoryHost(scripts={"feed": Script(lines=("one",), exit_code=3)})
    shared = Pool(open_pipe=lambda settings: Slow(host))
    monkeypatch.setattr(programs, "triggerer_pipes", lambda _: lambda: shared.pipe(HostSettings()))
    job = feed(Path("/memory"), "echo one; exit 3")
    async with shared.pipe(HostSettings()) as pipe:
        await pipe.request("install", spec=render_spec(job), owner=OWNER, if_running="adopt")
        await pipe.request("start_supervisord", job="feed")
        await pipe.request("start", job="feed", owner=OWNER, programs=None, if_running="adopt")
    trigger = SupervisorProgramsTrigger(pin=pin_of(job).to_dict(), task=TASK)

    event = await asyncio.wait_for(fired(trigger.run()), 60)

    process = host.jobs["feed"].processes["feed"]
    assert event["records"]["feed"]["exit_code"] == 3
    assert not process.is_reported
    may_answer.set()
    await eventually(lambda: process.is_reported, last_seen=lambda: process.cursors)
    assert process.cursors["airflow"]["positions"] == {"stdout": 4}


async def test_only_a_real_kill_ends_the_programs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = False

    async def was_killed(task: Any) -> bool:
        assert task == TASK
        return said

    monkeypatch.setattr(programs, "was_killed", was_killed)
    pin = await started(feed(root, "sleep 1000"))
    trigger = SupervisorProgramsTrigger(pin=pin.to_dict(), task=TASK)
    await trigger.on_kill()
    assert await phase(pin) == "running"
    said = True
    await trigger.on_kill()
    assert await phase(pin) == "ended"


async def test_a_cancelled_watch_leaves_the_programs_alone(root: Path) -> None:
    pin = await started(feed(root, "sleep 1000"))
    trigger = SupervisorProgramsTrigger(pin=pin.to_dict(), task=TASK)
    watching = asyncio.create_task(fired(trigger.run()))
    await asyncio.wait([watching], timeout=0.5)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await trigger.cleanup()
    assert await phase(pin) == "running"


async def test_a_request_is_answered(root: Path) -> None:
    pin = await started(feed(root, "sleep 1000"))
    params = {"job": "feed", "owner": OWNER, "programs": None, "by": "a test", "reason": "stopped"}
    event = await fired(SupervisorRequestTrigger(host=pin.host, verb="stop", params=params).run())
    assert [process["action"] for process in event["result"]["processes"]] == ["stopped"]


async def test_a_refusal_is_an_answer(root: Path) -> None:
    pin = await started(feed(root, "sleep 1000"))
    params = {"job": "feed", "owner": {"dag_id": "another"}, "purge": False}
    event = await fired(SupervisorRequestTrigger(host=pin.host, verb="remove", params=params).run())
    assert event["error"]["code"] == "not_owner"


async def test_an_event_waits_until_the_scheduler_knows_of_the_deferral(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "SETTLE_S", 2.0)
    host = Host(root=str(root)).model_dump(mode="json", exclude_defaults=True)
    began = asyncio.get_running_loop().time()
    await fired(SupervisorRequestTrigger(host=host, verb="status", params={"job": None}).run())
    assert asyncio.get_running_loop().time() - began >= 2.0


class Failures:
    """A logger that tells of the first warning."""

    def __init__(self) -> None:
        self.first = asyncio.Event()

    def warning(self, message: str, /, *arguments: Any) -> None:
        assert "asking again" in message
        self.first.set()


async def test_a_request_outlasts_an_outage(short_folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "FIRST_DELAY", 0.1)
    failures = Failures()
    with EmbeddedSSH(short_folder / "e") as server:
        host = Host(name="site", root=str(root), **server.host())
        await asyncio.to_thread(server.stop)
        dumped = host.model_dump(mode="json", exclude_defaults=True)
        trigger = SupervisorRequestTrigger(host=dumped, verb="status", params={"job": None})
        monkeypatch.setattr(trigger, "_log", failures)
        asking = asyncio.create_task(fired(trigger.run()))
        await asyncio.wait_for(failures.first.wait(), 30)
        await asyncio.to_thread(server.start)
        event = await asyncio.wait_for(asking, 60)
    assert event["result"]["jobs"] == []


async def test_a_host_that_shows_another_key_is_not_borne_for_ever(short_folder: Path, root: Path) -> None:
    with EmbeddedSSH(short_folder / "e") as server, EmbeddedSSH(short_folder / "o") as other:
        address = {**server.host(), "known_hosts": None, "host_key": other.host_key}
        job = Job(name="feed", host=Host(name="site", root=str(root), **address), programs={"p": Program(command="a")})
        pin = pin_of(job).with_policy(refused_timeout=0.5)
        event = await asyncio.wait_for(fired(SupervisorProgramsTrigger(pin=pin.to_dict(), task=TASK).run()), 60)
    assert event["judgement"]["verdict"] == "unreachable"
    assert "it shows another host key" in event["judgement"]["message"]
