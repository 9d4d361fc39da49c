"""A sweep of a host: what it asks, what it ends, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_supervisor_jobs.config import Host, Job, render_spec
from airflow_supervisor_jobs.core.orphans import HeldJob, Run, RunState, WatchTask
from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts.sweep import Sweeping, sweep, sweep_patiently
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script

HOST = Host(name="memory", hostname="memory")
A_MOMENT = 0.001
STRAY = {"pid": 7, "job": "gone", "process": "p", "generation": 2, "command": "sleep 9", "reason": "its runner is gone"}


@dataclass
class Answers:
    """An Airflow that says of its runs what ``says`` holds: at each time the next, at last the last."""

    says: dict[str, list[RunState]]
    deployment: str = "ours"
    asked: list[str] = field(default_factory=list)
    waiting: list[WatchTask] = field(default_factory=list)

    def state_of(self, run: Run) -> RunState:
        answers = self.says[run.run_id]
        said = answers[min(self.asked.count(run.run_id), len(answers) - 1)]
        self.asked.append(run.run_id)
        return said

    def watches(self, held: Sequence[HeldJob]) -> list[WatchTask]:
        return self.waiting


def over(**says: list[RunState]) -> Answers:
    return Answers({"over": [RunState.OVER], **says})


def owner(run_id: str, **more: str) -> dict[str, str]:
    return {"deployment": "ours", "dag_id": "feed", "run_id": run_id, "task": "", "map_index": "-1", **more}


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost(scripts={"p": Script(holds=True)})


async def up(host: MemoryHost, name: str, whose: dict[str, str], **job: Any) -> None:
    model = Job.model_validate({"name": name, "programs": {"p": {"command": "true"}}, **job})
    async with MemoryPipe(host) as pipe:
        await pipe.request("install", spec=render_spec(model), owner=whose, if_running="adopt")
        await pipe.request("start_supervisord", job=name)
        await pipe.request("start", job=name, owner=whose, programs=None, if_running="adopt")


async def look(host: MemoryHost, airflow: Answers | None, *, stop: bool = True, confirm_s: float = A_MOMENT) -> Any:
    async with MemoryPipe(host) as pipe:
        return await sweep(pipe, Sweeping(HOST, airflow, stop=stop, by="a test", confirm_s=confirm_s))


async def test_an_orphan_is_torn_down_as_its_run_would_have(host: MemoryHost) -> None:
    await up(host, "feed", owner("over"))
    process = host.process("feed", "p")

    swept = await look(host, over())

    (finding,) = swept.findings
    assert (finding["host"], finding["job"], finding["process"], finding["generation"]) == ("memory", "feed", "p", 1)
    assert (finding["action"], finding["owner"]["run_id"], swept.left) == ("ended", "over", [])
    assert not process.is_running
    assert host.jobs == {}


async def test_looking_ends_nothing(host: MemoryHost) -> None:
    host.strays = [STRAY]
    await up(host, "feed", owner("over"))

    swept = await look(host, over(), stop=False)

    assert [(one["job"], one["action"]) for one in swept.left] == [("feed", "found"), ("gone", "found")]
    assert host.process("feed", "p").is_running
    assert host.strays == [STRAY]


async def test_a_run_that_goes_on_at_the_second_look_keeps_its_job(host: MemoryHost) -> None:
    await up(host, "feed", owner("cleared"))
    swept = await look(host, over(cleared=[RunState.OVER, RunState.ACTIVE]))
    assert swept.findings == []
    assert host.process("feed", "p").is_running


async def test_a_job_that_changes_hands_meanwhile_is_left_alone(host: MemoryHost) -> None:
    await up(host, "feed", owner("over"))

    class Airflow(Answers):
        def state_of(self, run: Run) -> RunState:
            if self.asked:
                host.jobs["feed"].owner = owner("next")
            return super().state_of(run)

    swept = await look(host, Airflow(over().says))

    assert swept.findings == []
    assert host.process("feed", "p").is_running


async def test_what_is_not_ours_is_not_even_asked_about(host: MemoryHost) -> None:
    await up(host, "theirs", owner("over", deployment="theirs"))
    await up(host, "by_hand", {"deployment": "cli", "user": "ann@desk"})
    await up(host, "outlives", owner("over"), airflow={"stop_on_exit": False})
    airflow = over()

    assert (await look(host, airflow)).findings == []
    assert airflow.asked == []
    assert all(host.process(name, "p").is_running for name in ("theirs", "by_hand", "outlives"))


async def test_what_is_left_of_a_run_without_a_program_is_removed_too(host: MemoryHost) -> None:
    await up(host, "feed", owner("over"))
    host.end("feed", "p")
    (finding,) = (await look(host, over())).findings
    assert (finding["process"], finding["action"]) == (None, "ended")
    assert host.jobs == {}


async def test_without_an_airflow_only_strays_are_found(host: MemoryHost) -> None:
    host.strays = [STRAY]
    await up(host, "feed", owner("over"))
    await up(host, "by_hand", {"deployment": "cli", "user": "ann@desk"})

    swept = await look(host, None)

    assert [(one["pid"], one["action"], one["reason"]) for one in swept.findings] == [
        (7, "ended", "its runner is gone")
    ]
    assert swept.unjudged == ["feed"]
    assert host.process("feed", "p").is_running


async def test_what_would_not_die_is_told_and_stays_installed(
    host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    await up(host, "feed", owner("over"))
    with surviving(host, monkeypatch, pid=123):
        (finding,) = (await look(host, over())).left
    assert finding["action"] == "not_ended"
    assert "123" in finding["error"]
    assert "feed" in host.jobs


@contextmanager
def surviving(host: MemoryHost, monkeypatch: pytest.MonkeyPatch, *, pid: int) -> Iterator[None]:
    answer = host.answer

    def with_survivor(verb: str, params: dict[str, Any]) -> dict[str, Any]:
        result = answer(verb, params)
        if verb == "stop":
            result["processes"] = [{**one, "survivors": [pid]} for one in result["processes"]]
        return result

    with monkeypatch.context() as patch:
        patch.setattr(host, "answer", with_survivor)
        yield


def watch_of(run_id: str, **pin: Any) -> WatchTask:
    pinned = {"job": "feed", "owner": owner(run_id), "host": {"name": "memory", "hostname": "memory"}, **pin}
    return WatchTask(Run("feed", run_id), "watch_programs", pinned)


async def test_a_task_whose_job_is_not_there_is_told_with_the_cure(host: MemoryHost) -> None:
    await up(host, "feed", owner("active"))
    airflow = over(active=[RunState.ACTIVE])
    airflow.waiting = [watch_of("active"), watch_of("bereft"), watch_of("away", host={"hostname": "elsewhere"})]

    (finding,) = (await look(host, airflow)).left

    assert (finding["job"], finding["owner"]["run_id"], finding["action"]) == ("feed", "bereft", "found")
    assert finding["reason"].startswith("the task feed/bereft/watch_programs waits for it")
    assert host.process("feed", "p").is_running


async def test_the_job_of_a_run_that_is_over_is_not_missed_as_well(host: MemoryHost) -> None:
    await up(host, "feed", owner("over"))
    airflow = over()
    airflow.waiting = [watch_of("over")]
    (finding,) = (await look(host, airflow, stop=False)).left
    assert finding["reason"] == "its run feed/over is over"


async def test_a_local_job_of_another_machine_is_not_missed_here(host: MemoryHost) -> None:
    airflow = over()
    airflow.waiting = [watch_of("bereft", machine="another")]
    assert (await look(host, airflow)).findings == []


async def test_a_watch_that_has_ended_at_the_second_look_is_none(host: MemoryHost) -> None:
    class Airflow(Answers):
        def watches(self, held: Sequence[HeldJob]) -> list[WatchTask]:
            return [self.waiting.pop()] if self.waiting else []

    assert (await look(host, Airflow(over().says, waiting=[watch_of("ended")]))).findings == []


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (3, 4)])
async def test_a_host_out_of_reach_is_asked_again(host: MemoryHost, retries: int, attempts: int) -> None:
    host.trouble = HostUnreachable("no route", host="memory")
    opened = []

    def pipe() -> MemoryPipe:
        opened.append(1)
        return MemoryPipe(host)

    how = Sweeping(HOST, over(), stop=True, by="a test")
    with pytest.raises(HostUnreachable):
        await sweep_patiently(pipe, how, retries=retries, retry_delay_s=A_MOMENT)
    assert len(opened) == attempts


async def test_a_host_that_comes_back_is_swept(host: MemoryHost) -> None:
    await up(host, "feed", owner("over"))
    host.trouble = HostUnreachable("no route", host="memory")

    def pipe() -> MemoryPipe:
        if opened:
            host.trouble = None
        opened.append(1)
        return MemoryPipe(host)

    opened: list[int] = []
    how = Sweeping(HOST, over(), stop=True, by="a test", confirm_s=0)
    swept = await sweep_patiently(pipe, how, retries=1, retry_delay_s=A_MOMENT)
    assert [one["action"] for one in swept.findings] == ["ended"]
