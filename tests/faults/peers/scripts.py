"""The faults, each one script for all systems. Each returns in how many of how many cases the promise was broken."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from tests.faults.campaign.trial import Trial
from tests.faults.peers.system import Status, System
from tests.programs.ledger import Ledger
from tests.services.host import wait_for

PROGRAMS = Path(__file__).parents[2] / "programs"
ENDS = [sys.executable, "-S", str(PROGRAMS / "ends.py")]
NOT_DEADLY = {17, 18, 19, 20, 21, 22, 23, 28}
PATIENCE = 20.0

Found = tuple[int, int]
Script = Callable[[System, Ledger, Random], Awaitable[Found]]


def scripted(ledger: Ledger, *options: str) -> list[str]:
    """Return the command of a job that keeps the ledger."""
    job = [sys.executable, "-S", str(PROGRAMS / "scripted_job.py"), "--ledger", str(ledger.path)]
    return [*job, "--beat-every", "0.02", "--run-for", "600", *options]


async def running(ledger: Ledger, processes: int = 1) -> None:
    """Return once that many processes of the program run."""
    await wait_for(lambda: len(ledger.alive()) >= processes, "the program's start")


async def gone(ledger: Ledger) -> bool:
    """Return whether none of the program's processes is left after a while."""
    try:
        return bool(await wait_for(lambda: not ledger.alive(), "the program's end", within=5))
    except AssertionError:
        return False


async def one_copy(ledger: Ledger) -> Found:
    """Return whether there was ever more than one; a second one has a while to show itself."""
    try:
        await wait_for(lambda: ledger.copies() or len(ledger.alive(role="main")) > 1, "a second copy", within=3)
    except AssertionError:
        return 0, 1
    return 1, 1


async def supervisord_killed(system: System, ledger: Ledger, random: Random) -> Found:
    """supervisord killed with -9, and whatever then starts the program again."""
    await system.start(scripted(ledger))
    await running(ledger)
    await Trial(random).moment(within=0.5)
    await system.kill_supervisord()
    await system.start_anew()
    return await one_copy(ledger)


async def worker_killed(system: System, ledger: Ledger, random: Random) -> Found:
    """The worker killed between start and watch, and the task's retry."""
    await system.start(scripted(ledger))
    await running(ledger)
    await Trial(random).moment(within=0.5)
    await system.start_again()
    return await one_copy(ledger)


async def statuses(system: System, _ledger: Ledger, _random: Random) -> Found:
    """256 exit codes and 31 signals."""
    codes: dict[int, Status] = {code: (code, None) for code in range(256)}
    signals: dict[int, Status] = {
        256 + number: (number, None) if number in NOT_DEADLY else (None, number) for number in range(1, 32)
    }
    true = codes | signals
    told = await system.ends(ENDS, list(true))
    return sum(told[number] != status for number, status in true.items()), len(true)


async def stopped(system: System, ledger: Ledger, random: Random) -> Found:
    """Stop, with a child in a session of its own."""
    await system.start(scripted(ledger, "--setsid"))
    await running(ledger, 2)
    await Trial(random).moment(within=0.5)
    await system.stop()
    return int(not await gone(ledger)), 1


async def marked_failed(system: System, ledger: Ledger, random: Random) -> Found:
    """The waiting task marked failed."""
    await system.start(scripted(ledger))
    await running(ledger)
    await system.mark_failed()
    return int(not await gone(ledger)), 1


async def group_killed(system: System, ledger: Ledger, random: Random) -> Found:
    """The program's whole process group killed with -9: is it told, within 20 s, that it has ended?"""
    await system.start(scripted(ledger))
    await running(ledger)
    await Trial(random).moment(within=0.5)
    os.killpg(os.getpgid(ledger.alive()[0].pid), signal.SIGKILL)
    return int(await system.end(within=PATIENCE) is None), 1


#: Promise, fault in words, script, and whether once is enough: it holds many cases by itself.
SCRIPTS: list[tuple[str, str, Script, bool]] = [
    ("G1", "supervisord killed with -9, then started with its program", supervisord_killed, False),
    ("G1", "worker killed between start and watch, task retried", worker_killed, False),
    ("G2", "256 exit codes and 31 signals, each told exactly", statuses, True),
    ("G4", "the program's process group killed with -9: told within 20 s", group_killed, False),
    ("G5", "stop, with a child in a session of its own", stopped, False),
    ("G9", "marked failed while it waits", marked_failed, False),
]
