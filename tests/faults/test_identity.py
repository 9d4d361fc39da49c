"""Only processes that are ours are signalled: pid, start ticks and boot id agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger
from tests.services.host import OTHER, Host, wait_for

Scripted = Callable[..., dict[str, Any]]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is nobody's business, in a session of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.promise("G15", "a stale record that names a stranger: its pid, or another boot", weight=0.5)
@pytest.mark.parametrize("lie", ["pid", "boot"])
async def test_a_stale_record_that_names_a_stranger_hurts_nobody(
    root: Path, ledger: Ledger, scripted: Scripted, stranger: subprocess.Popen[bytes], lie: str
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        runner = (await host.start())["p"]["runner_pid"]
        record = root / "jobs/job/p/run.json"
        run = json.loads(record.read_text())
        os.kill(runner, signal.SIGKILL)
        await wait_for(lambda: not ledger.alive(), "the end of the program with its runner")
        stat = Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(stat[19]) if lie == "boot" else run["ticks"]
        boot = "another boot" if lie == "boot" else run["boot_id"]
        lying = {"pid": stranger.pid, "ticks": ticks, "runner_pid": stranger.pid, "runner_ticks": ticks}
        record.write_text(json.dumps({**run, **lying, "boot_id": boot}))
        assert (await host.status())["p"]["phase"] == "lost"
        await host.stop()
        assert (await host.start(owner=OTHER))["p"]["generation"] == 2
        await host.stop(owner=OTHER)
        assert stranger.poll() is None


@pytest.mark.promise("G2", "a reboot: `lost`, and the next start counts on", weight=0.5)
async def test_a_reboot_is_lost_and_the_next_generation_counts_on(root: Path, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        runner = (await host.start())["p"]["runner_pid"]
        os.kill(runner, signal.SIGKILL)
        record = root / "jobs/job/p/run.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "boot_id": "the boot before"}))
        assert (await host.wait(lambda s: s["p"]["phase"] == "lost"))["p"]["exit_code"] is None
        assert (await host.start(owner=OTHER))["p"]["generation"] == 2
