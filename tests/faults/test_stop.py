"""A stop leaves nothing of the tree, whatever shape it has."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import TRIALS, Trial
from tests.programs.ledger import Ledger
from tests.services.host import Host

SHAPES = {
    "plain": [],
    "fork": ["--fork"],
    "double fork": ["--double-fork"],
    "session of its own": ["--setsid"],
    "TERM ignored": ["--ignore-term"],
    "TERM ignored by children": ["--ignore-term", "--double-fork", "--children", "5"],
    "stopped": ["--stop-self"],
    "stopped children that ignore TERM": ["--stop-self", "--ignore-term", "--children", "3"],
    "descriptors closed": ["--close-fds", "--double-fork"],
    "environment cleared": ["--clear-env", "--setsid"],
    "everything": ["--double-fork", "--setsid", "--close-fds", "--clear-env", "--ignore-term", "--children", "10"],
    "a thousand children": ["--children", "1000"],
}


@pytest.mark.promise("G5", "stop: twelve shapes of a process tree", weight=0.5)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_no_survivor(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]], shape: list[str], trial: Trial
) -> None:
    children = (
        int(shape[shape.index("--children") + 1])
        if "--children" in shape
        else int(bool({"--fork", "--double-fork", "--setsid"} & set(shape)))
    )
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", *shape))
        await host.start()
        wanted = trial.random.randint(0, 1 + children) if TRIALS > 1 else 1 + children
        ledger.wait_for(lambda book: len({entry.pid for entry in book.starts()}) >= wanted, 60)
        await trial.moment()
        stopped = (await host.stop())["p"]
        assert stopped["survivors"] == []
        assert stopped["record"]["complete"]
        assert not ledger.alive()


@pytest.mark.promise("G5", "the program ends by itself, its children do not")
async def test_what_a_finished_program_leaves_behind_is_ended(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]], trial: Trial
) -> None:
    run_for = f"{trial.random.uniform(0.1, 0.6):.3f}"
    async with Host(root) as host:
        await host.install(
            programs=scripted("--double-fork", "--children", "3", "--run-for", run_for, "--exit-code", "9")
        )
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert ended["exit_code"] == 9
        assert len(ended["record"]["ended"]) == 3
        assert not ledger.alive()


@pytest.mark.promise("G5", "stop, when the runner is stopped (SIGSTOP)")
async def test_a_runner_that_does_not_do_its_work_is_ended_with_its_tree(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]], trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--double-fork", stopwaitsecs=0))
        runner = (await host.start())["p"]["runner_pid"]
        ledger.wait_for(lambda book: len(book.alive()) == 2)
        await trial.moment()
        os.kill(runner, signal.SIGSTOP)
        stopped = (await host.stop())["p"]
        assert (stopped["record"]["reason"], stopped["survivors"]) == ("lost", [])
        assert not ledger.alive()
