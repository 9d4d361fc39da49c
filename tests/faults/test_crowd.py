"""Many jobs at once: they stop side by side, one's change is no other's, and what is over does not pile up."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import TRIALS, Trial
from tests.services.host import OWNER, Host

DEAF = ["sh", "-c", "trap '' TERM; while :; do sleep 600; done"]
#: Fewer, where a change is tested.
SHORT_JOBS = 1000 if TRIALS > 1 else 60
AT_A_TIME = 50


async def start_all(host: Host, names: list[str], program: dict[str, Any]) -> None:
    """Have that many jobs of one program run."""
    await asyncio.gather(*(host.install(name=name, programs={"p": program}) for name in names))
    await asyncio.gather(*(host.start(name) for name in names))


async def all_jobs(host: Host) -> dict[str, dict[str, Any]]:
    """Return the status of each job's one process."""
    return {job["job"]: job["processes"][0] for job in (await host.pipe.request("status", job=None))["jobs"]}


@pytest.mark.promise("G5", "fifty jobs that ignore TERM stop at once: each is waited for beside the others", weight=0.1)
async def test_fifty_jobs_stop_side_by_side(root: Path, trial: Trial) -> None:
    names = [f"job{number}" for number in range(50)]
    async with Host(root) as host:
        await start_all(host, names, {"command": DEAF, "stopwaitsecs": 4})
        stopped = await asyncio.gather(*(host.stop(name) for name in names))
    records = [one["p"]["record"] for one in stopped]
    assert {(record["signal"], record["complete"]) for record in records} == {(signal.SIGKILL, True)}
    # Each was asked before the first of them had been waited for.
    assert max(record["stop"]["at"] for record in records) < min(record["ended_at"] for record in records)
    trial.tried = len(names)


@pytest.mark.promise("G11", "one of fifty jobs is changed, and restarted", weight=0.2)
async def test_a_changed_job_changes_no_other(root: Path, trial: Trial) -> None:
    names = [f"job{number}" for number in range(50)]
    victim = trial.random.choice(names)
    async with Host(root) as host:
        await start_all(host, names, {"command": "sleep 600"})
        before = await all_jobs(host)
        how = trial.random.choice(["command", "remove", "another"])
        if how == "command":
            await host.install(name=victim, programs={"p": {"command": "sleep 601"}})
            await host.start(victim, verb="restart")
        elif how == "remove":
            await host.stop(victim)
            await host.pipe.request("remove", job=victim, owner=OWNER, purge=True)
        else:
            await host.install(name=victim, programs={"p": {"command": "sleep 600"}, "q": {"command": "sleep 602"}})
            await host.start(victim, verb="restart")
        after = await all_jobs(host)
    del before[victim]
    after.pop(victim, None)
    assert after == before
    trial.tried = len(names) - 1


@pytest.mark.timeout(600)
@pytest.mark.promise("G16", "1000 short jobs, a third of them killed, and a few that go on", weight=0.1)
async def test_what_is_over_does_not_pile_up_and_what_runs_goes_on(root: Path, trial: Trial) -> None:
    lasting = [f"lasting{number}" for number in range(3)]
    async with Host(root) as host:
        await start_all(host, lasting, {"command": "sleep 600"})
        pids = {name: one["pid"] for name, one in (await all_jobs(host)).items()}
        for first in range(0, SHORT_JOBS, AT_A_TIME):
            names = [f"short{number}" for number in range(first, min(first + AT_A_TIME, SHORT_JOBS))]
            killed = set(trial.random.sample(names, len(names) // 3))
            await asyncio.gather(*(live(host, name, killed=name in killed) for name in names))
        assert {name: one["pid"] for name, one in (await all_jobs(host)).items()} == pids
        assert sorted(path.name for path in (root / "jobs").iterdir()) == lasting
        declared = (root / "programs.conf").read_text()
        assert declared.count("[program:") == len(lasting)
        assert set((root / "jobs").parent.glob("**/*.tmp")) == set()
    trial.tried = SHORT_JOBS


async def live(host: Host, name: str, *, killed: bool) -> None:
    """Have a job come, end or be killed, and go."""
    command = "sleep 600" if killed else "true"
    await host.install(name=name, programs={"p": {"command": command}})
    status = (await host.start(name))["p"]
    if killed:
        status = (await host.status(name))["p"]
        os.kill(status["pid"], signal.SIGKILL)
    ended = (await host.wait_ended(name, within=90))["p"]
    assert (ended["exit_code"], ended["signal"]) == ((None, 9) if killed else (0, None))
    await host.stop(name)
    await host.pipe.request("remove", job=name, owner=OWNER, purge=True)
