"""The exit status is never lost, and exact: 256 codes and 31 signals, of jobs of a millisecond too."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import Trial
from tests.services.host import Host

#: What ends a program by default; the other signals stop it, wake it or do nothing, and then it exits.
NOT_DEADLY = {17, 18, 19, 20, 21, 22, 23, 28}
STOPPING = {19, 20, 21, 22}
#: Process 0 to 255 exit with their own number; 256 + n gets signal n, and exits with n if it survives it.
STATUSES: dict[str, tuple[int | None, int | None]] = {f"p_{code:03d}": (code, None) for code in range(256)} | {
    f"p_{256 + number:03d}": (number, None) if number in NOT_DEADLY else (None, number) for number in range(1, 32)
}
NAME = "%(program_name)s_%(process_num)03d"
# A shell for the codes: one that ends within a millisecond. Python for the signals: it forgets what it inherited.
CODES = """
n=$((10#${SUPERVISOR_PROCESS_NAME##*_}))
((n < 256)) && { ((n % 2)) && read -rt $PAUSE <> <(:); exit $n; }
exec python3 -S -c "$SIGNALS"
"""
SIGNALS = """
import os, signal, sys
n = int(os.environ["SUPERVISOR_PROCESS_NAME"].rpartition("_")[2]) - 256
n in (0, 9, 19) or signal.signal(n, signal.SIG_DFL)
n and os.kill(os.getpid(), n)
os._exit(n)
"""


def of_all_ends(pause: float) -> dict[str, Any]:
    """Return the program whose processes end in each of the ways; an odd code takes its time."""
    environment = {"PAUSE": f"{pause:.3f}", "SIGNALS": SIGNALS}
    return {"p": {"command": ["bash", "-c", CODES], "environment": environment, "numprocs": 288, "process_name": NAME}}


def status_of(process: dict[str, Any]) -> tuple[int | None, int | None]:
    return process["exit_code"], process["signal"]


async def wake(host: Host) -> dict[str, dict[str, Any]]:
    """Return the statuses once all have ended; what stopped itself is continued, as a debugger would."""

    def all_ended(status: dict[str, dict[str, Any]]) -> bool:
        for number in STOPPING:
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(status[f"p_{256 + number:03d}"]["pid"], signal.SIGCONT)
        return all((one["record"] or {}).get("complete") for one in status.values())

    return await host.wait(all_ended, within=90)


@pytest.mark.promise("G2", "256 exit codes and 31 signals, jobs of a millisecond among them", weight=0.1)
async def test_each_of_256_codes_and_31_signals_is_told(root: Path, trial: Trial) -> None:
    async with Host(root) as host:
        await host.install(programs=of_all_ends(0.001))
        await host.start()
        ended = await wake(host)
    told(ended, trial)
    assert {one["record"]["reason"] for one in ended.values()} == {"exited", "signalled"}


@pytest.mark.promise("G2", "the same, supervisord and the agent killed with -9 while they end", weight=0.1)
async def test_each_is_told_when_supervisord_and_the_agent_are_killed_meanwhile(root: Path, trial: Trial) -> None:
    async with Host(root) as host:
        await host.install(programs=of_all_ends(trial.random.uniform(1, 5)))
        await host.start()
        await trial.moment(within=2)
        os.kill(host.supervisord_pid(), signal.SIGKILL)
    async with Host(root) as host:
        if trial.random.random() < 0.5:
            await host.pipe.request("start_supervisord", job="job")
        told(await wake(host), trial)


def told(ended: dict[str, dict[str, Any]], trial: Trial) -> None:
    """Fail, with the number of them, if any status is not the program's own."""
    wrong = {name: status_of(ended[name]) for name, status in STATUSES.items() if status_of(ended[name]) != status}
    trial.tried, trial.violated = len(STATUSES), len(wrong) or 1
    assert wrong == {}
