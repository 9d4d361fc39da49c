"""Whatever happens, in whatever order, there is never a second copy, and a stop leaves nothing.

Gusts are thrown at one job, at random moments, some of them side by side. The ledger alone is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import HostError
from tests.faults.campaign.trial import Trial
from tests.programs.ledger import Ledger
from tests.services.host import OTHER, OWNER, Host
from tests.services.processes import processes_of

SHAPES: list[list[str]] = [
    [],
    ["--fork"],
    ["--double-fork"],
    ["--setsid"],
    ["--ignore-term"],
    ["--setsid", "--clear-env"],
    ["--on-term-exit", "5"],
]
PROGRAMS: list[dict[str, Any]] = [
    {},
    {"stopwaitsecs": 0},
    {"if_supervisord_dies": "stop"},
    {"autorestart": True, "restart": {"attempts": 3, "delay": 0, "max_delay": 0}},
]
#: A stop by hand may hit a runner before it can listen; supervisord kills it then, after `stopwaitsecs` and 30 s.
PATIENCE = 150.0


class Storm:
    """Gusts at the job of one root; what a gust is refused is no matter, only what the ledger says."""

    def __init__(self, root: Path, random: Random, programs: dict[str, Any]) -> None:
        self.root, self.random, self.programs = root, random, programs
        self.gusts: list[Callable[[], Awaitable[None]]] = [
            self.kill_supervisord, self.kill_runner, self.start, self.start, self.start_from_all_sides,
            self.start_and_kill_agent, self.stop, self.remove_beside_start, self.by_hand, self.by_hand,
            self.supervisord_by_hand,
        ]  # fmt: skip

    async def blow(self) -> None:
        """Throw one gust, or two side by side."""
        gusts = self.random.choices(self.gusts, k=self.random.choice([1, 1, 2]))
        await asyncio.gather(*(gust() for gust in gusts))

    async def start(self) -> None:
        """Order a start as one of two owners, by one of the rules."""
        owner, verb = self.random.choice([OWNER, OTHER]), self.random.choice(["start", "start", "restart"])
        if_running = self.random.choice(["adopt", "restart", "fail"])
        async with Host(self.root) as host:
            with contextlib.suppress(HostError):
                await host.install(owner, if_running="adopt", programs=self.programs)
                await host.start(owner=owner, if_running=if_running, verb=verb)

    async def start_from_all_sides(self) -> None:
        """Order starts by several agents at once."""
        await asyncio.gather(*(self.start() for _ in range(self.random.randint(2, 3))))

    async def start_and_kill_agent(self) -> None:
        """Order a start, and kill the agent somewhere in the middle."""
        host = Host(self.root)
        async with host:
            starting = asyncio.create_task(host.start(verb=self.random.choice(["start", "restart"])))
            await Trial(self.random).moment(within=0.2)
            await host.pipe.close()  # kills a local agent with -9
            await asyncio.gather(starting, return_exceptions=True)

    async def stop(self) -> None:
        """Stop the job, whoever owns it."""
        async with Host(self.root) as host:
            with contextlib.suppress(HostError):
                await host.pipe.request("stop", job="job", owner=None, programs=None, by="a test", reason="stopped")

    async def remove_beside_start(self) -> None:
        """Remove the job while it is started."""
        async with Host(self.root) as host:
            removing = host.pipe.request("remove", job="job", owner=None, purge=False)
            await asyncio.gather(removing, self.start(), return_exceptions=True)

    async def kill_supervisord(self) -> None:
        """Kill it with -9."""
        self._kill(lambda command: "supervisord.conf" in command and "supervisorctl" not in command)

    async def kill_runner(self) -> None:
        """Kill one runner with -9."""
        with contextlib.suppress(OSError, ValueError):
            runner = json.loads((self.root / "jobs/job/p/run.json").read_text())["runner_pid"]
            if runner in processes_of(self.root):
                os.kill(runner, signal.SIGKILL)

    async def by_hand(self) -> None:
        """Say something with supervisorctl."""
        await self._run(
            self.root / "bin/supervisorctl", self.random.choice(["start", "start", "stop", "restart"]), "job:p"
        )

    async def supervisord_by_hand(self) -> None:
        """Start a supervisord, as an operator would."""
        async with Host(self.root) as host:
            command = (await host.pipe.request("hello"))["supervisord"]["command"]
        if (self.root / "supervisord.conf").exists():
            await self._run(*command, "-c", self.root / "supervisord.conf")

    def _kill(self, is_victim: Callable[[str], bool]) -> None:
        for pid in [pid for pid, command in processes_of(self.root).items() if is_victim(command)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _run(self, *words: str | Path) -> None:
        silent = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(*words, **silent)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except asyncio.TimeoutError:
            log = (self.root / "supervisord.log").read_text()[-2000:]
            pytest.fail(f"{words} does not end: {processes_of(self.root)}\n{log}")


@pytest.mark.timeout(400)
@pytest.mark.promise("G1", "a storm: kills, starts, stops and supervisorctl in random order, side by side", weight=5)
async def test_a_storm_leaves_one_copy_at_most_and_a_stop_leaves_none(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]], trial: Trial
) -> None:
    shape, program = trial.random.choice(SHAPES), trial.random.choice(PROGRAMS)
    storm = Storm(root, trial.random, scripted("--run-for", "600", "--beat-every", "0.01", *shape, **program))
    await storm.start()
    ledger.wait_for(lambda book: book.starts())  # later ones may be stopped before they can write
    for _ in range(trial.random.randint(3, 8)):
        await storm.blow()
        await trial.moment(within=0.2)
        assert ledger.copies() == []
        assert len(ledger.alive(role="main")) <= 1
    await storm.start()
    await storm.stop()
    assert ledger.copies() == []
    assert ledger.alive() == []
