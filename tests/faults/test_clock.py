"""A clock that is set changes nothing: not what runs, nor for how long it may, nor how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger
from tests.services.clock import SteppedClock
from tests.services.host import OWNER, Host

HOUR, YEAR = 3600, 365 * 86400
#: Patient enough for any test, and over at once for whoever believes a clock that was set by an hour.
PATIENT = {"watchdog": 600, "restart": {"delay": 0.2, "attempts": 1, "interval": 600, "jitter": 0}}


@pytest.mark.promise("G13", "the clock is set by an hour or a year, either way, while a program runs")
@pytest.mark.parametrize("step", [HOUR, -HOUR, YEAR, -YEAR])
async def test_a_step_of_the_clock_changes_nothing(
    root: Path, short_folder: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]], step: float
) -> None:
    clock = SteppedClock(short_folder / "clock")
    programs = scripted("--ignore-term", "--run-for", "600", autorestart="unexpected", **PATIENT)
    settings = {"host": {"supervisord": {"command": clock.supervisord}}, "airflow": {"lease": 600}}
    async with Host(root, python=clock.python) as host:
        await host.install(programs=programs, **settings)
        clock.govern(root)
        before = (await host.start())["p"]
        ledger.wait_for(lambda book: book.starts())
        true_now = (await host.pipe.request("ping"))["now"]
        clock.step(step)
        stepped = (await host.pipe.request("ping"))["now"] - true_now
        assert abs(stepped - step) < HOUR / 2
        watch = {"job": "job", "owner": OWNER, "consumer": None, "logs": False, "start": "end", "credit": 1}
        await host.pipe.request("watch", **watch)
        after = (await host.start())["p"]
        assert (after["action"], after["pid"], after["state"]) == ("adopted", before["pid"], "RUNNING")
        # One death is restarted within the budget, as if no hour had passed; the second is the end of it.
        for generation in (1, 2):
            status = await host.wait(lambda s, n=generation: s["p"]["generation"] == n and s["p"]["phase"] == "running")
            ledger.wait_for(lambda book, n=generation: len(book.starts()) == n)
            os.kill(status["p"]["pid"], 9)
        ended = (await host.wait_ended())["p"]
        assert (ended["signal"], ended["generation"], ended["record"]["reason"]) == (9, 2, "signalled")
        assert abs(ended["record"]["ended_at"] - true_now - step) < HOUR / 2  # the runner, too, lives by that clock
        assert 0 <= ended["record"]["seconds"] < 600
        # A stop is still patient for as long as it says, then not, whatever the hour.
        await host.install(programs=scripted("--ignore-term", "--run-for", "600", stopwaitsecs=1), **settings)
        clock.govern(root)
        again = (await host.start(verb="restart"))["p"]
        assert again["generation"] == 3
        ledger.wait_for(lambda book: len(book.starts()) == 3)
        clock.step(0)
        stopped = (await host.stop())["p"]
        assert (stopped["signal"], stopped["record"]["reason"], stopped["state"]) == (9, "stopped", "STOPPED")
        assert not ledger.alive()
