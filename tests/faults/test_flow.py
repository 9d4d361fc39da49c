"""A flood of lines costs time of those who read it, and of nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.hosts.flow import CREDIT_BYTES
from airflow_supervisor_jobs.hosts.observations import Changed, Observation
from airflow_supervisor_jobs.hosts.picture import Target
from tests.faults.campaign.trial import Trial
from tests.services import switches
from tests.services.far import Far
from tests.services.host import OWNER, wait_for
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.openssh]

#: Prints much more than the link carries in the time of the test.
FLOOD = "head -c 6000000 /dev/urandom | base64 -w 100; sleep 600"
FLOODS = tuple(f"flood{number}" for number in range(6))
#: A third of what the floods may have under way by their own credit.
STANDING_BEFORE = len(FLOODS) * CREDIT_BYTES * 4 // 3 // 3


def ended(seen: Observation) -> bool:
    return isinstance(seen, Changed) and seen.status.has_ended


@pytest.mark.promise("G7", "floods of other jobs on a slow link while a job ends")
async def test_a_flood_on_a_slow_link_delays_no_other_jobs_state(far: Far, scripted: Scripted, trial: Trial) -> None:
    await far.near.install(name="quiet", programs=scripted("--run-for", "600"))
    await far.near.start("quiet")
    for name in FLOODS:
        await far.near.install(name=name, programs={"p": {"command": ["sh", "-c", FLOOD]}})
        await far.near.start(name)
    far.model = far.model.model_copy(update={"compress": False})
    far.link.piece, far.link.delay_s = 4096, 0.02
    async with AsyncExitStack() as watches:

        async def watched(name: str) -> Watching:
            target = Target(name, owner=OWNER, consumer="task")
            return await watches.enter_async_context(Watching(far.pipes, target, WatchPolicy("far", name)))

        quiet = await watched("quiet")
        await quiet.until(lambda: quiet.pids)
        for flood in [await watched(name) for name in FLOODS]:
            await flood.until(lambda flood=flood: flood.texts)
        flowing = far.link.to_client.carried
        await wait_for(lambda: far.link.to_client.carried > flowing + STANDING_BEFORE, "all to flow")
        await trial.moment()
        await switches.program(far.near.root, job="quiet").kill()
        await far.near.wait_ended("quiet")
        before = far.link.to_client.carried
        await quiet.until(lambda: any(ended(seen) for _, seen in quiet.seen))
        assert far.link.to_client.carried - before < STANDING_BEFORE
        assert (await quiet.judgement()).verdict is Verdict.FAILED
    far.link.delay_s = 0
