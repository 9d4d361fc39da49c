"""Who may start what, and what a repeated order does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_supervisor_jobs.exceptions import AgentError
from tests.services.host import OTHER, OWNER, Host

SLEEP = {"p": {"command": "sleep 600", "stopwaitsecs": 2}}
FAIL = {"p": {"command": "sh -c 'exit 3'"}}


async def test_a_repeated_start_adopts(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=SLEEP)
        first = (await host.start())["p"]
        again = (await host.start())["p"]
        assert (first["action"], again["action"]) == ("started", "adopted")
        assert (first["pid"], first["generation"]) == (again["pid"], again["generation"])


async def test_an_end_that_nobody_has_reported_is_reported_and_not_repeated(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=FAIL)
        await host.start()
        await host.wait_ended()
        again = (await host.start())["p"]
        assert (again["action"], again["generation"], again["exit_code"]) == ("ended", 1, 3)
        await host.pipe.request("ack", job="job", consumer="watch", positions={}, reported={"p": 1})
        assert (await host.start())["p"]["action"] == "started"
        assert (await host.wait_ended())["p"]["generation"] == 2


async def test_an_end_that_its_owner_ordered_needs_no_report(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=SLEEP)
        await host.start()
        await host.stop()
        assert (await host.start())["p"]["action"] == "started"
        await host.pipe.request("stop", job="job", owner=None, programs=None, by="somebody else", reason="stopped")
        assert (await host.start())["p"]["action"] == "ended"


async def test_another_owners_end_is_not_mine(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=FAIL)
        await host.start()
        await host.wait_ended()
        await host.install(OTHER, programs=FAIL)
        assert (await host.start(owner=OTHER))["p"]["action"] == "started"


async def test_an_adopted_programs_end_is_the_adopters_to_report(root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with Host(root) as host:
        wait = {"p": {"command": ["sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.02; done; exit 4"]}}
        await host.install(programs=wait)
        await host.start()
        assert (await host.start(owner=OTHER))["p"]["action"] == "adopted"
        gate.touch()
        await host.wait_ended()
        again = (await host.start(owner=OTHER))["p"]
        assert (again["action"], again["exit_code"]) == ("ended", 4)


async def test_another_owners_job_is_adopted_restarted_or_refused_as_asked(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=SLEEP)
        pid = (await host.start())["p"]["pid"]
        with pytest.raises(AgentError) as refusal:
            await host.start(owner=OTHER, if_running="fail")
        assert refusal.value.code == "busy"
        adopted = (await host.start(owner=OTHER, if_running="adopt"))["p"]
        assert (adopted["action"], adopted["pid"]) == ("adopted", pid)
        with pytest.raises(AgentError) as refusal:
            await host.stop(owner=OWNER)
        assert refusal.value.code == "not_owner"
        restarted = (await host.start(owner=OWNER, if_running="restart"))["p"]
        assert (restarted["action"], restarted["generation"]) == ("started", 2)
        assert restarted["pid"] != pid


async def test_many_starts_at_once_start_one(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=SLEEP)
        answers = await asyncio.gather(*(host.start() for _ in range(10)))
        assert sorted(answer["p"]["action"] for answer in answers) == ["adopted"] * 9 + ["started"]
        assert len({answer["p"]["pid"] for answer in answers}) == 1


async def test_a_stop_says_who_and_is_safe_to_repeat(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=SLEEP)
        await host.start()
        stopped = (await host.stop())["p"]
        assert (stopped["action"], stopped["signal"], stopped["state"]) == ("stopped", 15, "STOPPED")
        assert stopped["record"]["reason"] == "stopped"
        assert stopped["record"]["stop"]["by"] == "a test"
        assert (await host.stop())["p"]["action"] == "not_running"


async def test_supervisord_stops_only_when_no_job_is_left(root: Path) -> None:
    async with Host(root) as host:
        await host.install(name="a", programs=SLEEP)
        await host.install(name="b", programs=SLEEP)
        await host.start("b")
        held = await host.pipe.request("stop_supervisord", job="a", owner=OWNER)
        assert held == {"stopped": False, "held_by": ["b"]}
        with pytest.raises(AgentError) as refusal:
            await host.pipe.request("remove", job="b", owner=OWNER, purge=False)
        assert refusal.value.code == "running"
        await host.stop("b")
        assert (await host.pipe.request("stop_supervisord", job="b", owner=OWNER))["stopped"]
        for job in ("a", "b"):
            assert await host.pipe.request("remove", job=job, owner=OWNER, purge=True) == {"removed": True}
            assert await host.pipe.request("remove", job=job, owner=OWNER, purge=True) == {"removed": False}


async def test_changing_one_job_touches_only_that_job(root: Path) -> None:
    async with Host(root) as host:
        for number in range(5):
            await host.install(name=f"job{number}", programs=SLEEP)
            await host.start(f"job{number}")
        before = {n: (await host.status(f"job{n}"))["p"]["pid"] for n in range(5)}
        await host.install(name="job3", programs={**SLEEP, "q": {"command": "sleep 601"}})
        with pytest.raises(AgentError, match="while the group runs: restart the whole job"):
            await host.start("job3")
        assert (await host.start("job3", verb="restart"))["q"]["action"] == "started"
        before[3] = (await host.status("job3"))["p"]["pid"]
        after = {n: (await host.status(f"job{n}"))["p"]["pid"] for n in range(5)}
        assert before == after


@pytest.mark.parametrize(("job", "program"), [("root", "job"), ("job", "root"), ("p", "p")])
async def test_no_name_is_in_the_way_of_another(root: Path, job: str, program: str) -> None:
    async with Host(root) as host:
        await host.install(name=job, programs={program: {"command": "sh -c 'exit 3'"}})
        await host.start(job)
        assert (await host.wait_ended(job))[program]["exit_code"] == 3
