"""A hung program is found where the user asked, and one that nobody asks for is ended by its host."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host

Scripted = Callable[..., dict[str, Any]]


@pytest.mark.promise("G14", "the program is stopped (SIGSTOP)", weight=0.25)
async def test_a_stopped_program_is_hung(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--print-lines", "1000000", "--line-every", "0.1", watchdog=1))
        pid = (await host.start())["p"]["pid"]
        talking = await host.wait(lambda s: (root / "jobs/job/p/stdout.log").read_bytes().count(b"\n") > 15)
        assert talking["p"]["phase"] == "running"
        os.kill(pid, signal.SIGSTOP)
        ended = (await host.wait_ended())["p"]
        assert (ended["record"]["reason"], ended["signal"]) == ("hung", 15)
        assert "nothing new of its output for 1 s" in ended["record"]["message"]
        assert not ledger.alive()


@pytest.mark.promise("G14", "a busy loop without output", weight=0.25)
async def test_a_busy_loop_without_output_is_hung_and_restarted(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        restart = {"attempts": 2, "delay": 0, "max_delay": 0}
        await host.install(
            programs=scripted("--hang", "--run-for", "600", watchdog=1, autorestart="unexpected", restart=restart)
        )
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert (ended["generation"], ended["record"]["reason"]) == (3, "hung")
        assert len(ledger.starts()) == 3


@pytest.mark.promise("G14", "output goes on, the heartbeat file does not", weight=0.25)
async def test_a_heartbeat_file_counts_in_place_of_output(
    root: Path, tmp_path: Path, ledger: Ledger, scripted: Scripted
) -> None:
    heart = tmp_path / "heart"
    script = f"for n in 1 2 3 4 5 6 7 8; do touch {heart}; sleep 0.3; done; while :; do echo talking; sleep 0.3; done"
    async with Host(root) as host:
        await host.install(
            programs={"p": {"command": ["sh", "-c", script], "watchdog": 1, "heartbeat_file": str(heart)}}
        )
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert ended["record"]["reason"] == "hung"
        assert ended["record"]["seconds"] > 2.4


async def test_what_nobody_asks_for_is_ended_by_its_host(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        (spec,) = root.glob("jobs/job/config/*/process/p.json")
        spec.write_text(json.dumps({**json.loads(spec.read_text()), "lease": 1}))
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert (ended["record"]["reason"], ended["record"]["final"]) == ("lease_ended", True)
        assert not ledger.alive()


async def test_a_watch_keeps_the_lease(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"), airflow={"lease": 60})
        await host.start()
        lease = root / "jobs/job/lease"
        before = lease.stat().st_mtime_ns
        await host.pipe.request("watch", job="job", owner=OWNER, consumer=None, logs=False, start="end", credit=1)
        await host.wait(lambda s: lease.stat().st_mtime_ns > before)


async def test_a_look_that_is_over_at_once_keeps_the_lease(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"), airflow={"lease": 60})
        await host.start()
        lease = root / "jobs/job/lease"
        before = lease.stat().st_mtime_ns
        await host.pipe.request("watch", job="job", owner=OWNER, consumer=None, logs=False, start="end", credit=1)
        assert lease.stat().st_mtime_ns > before
