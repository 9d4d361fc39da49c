"""Upgrading the package, or going back, disturbs no job that runs: old files and new clients, and the reverse."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.config import Job, render_spec
from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host, by_process
from tests.services.versions import OtherVersion

Scripted = Callable[..., dict[str, Any]]
START: dict[str, Any] = {"job": "job", "owner": OWNER, "programs": None, "if_running": "adopt", "by": "a test"}
STOP: dict[str, Any] = {"job": "job", "owner": OWNER, "programs": None, "by": "a test", "reason": "stopped"}


@pytest.fixture(params=["first", "next"])
def other(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> OtherVersion:
    client: OtherVersion = getattr(OtherVersion, request.param)(tmp_path / "other", root)
    return client


async def test_the_next_version_is_another(root: Path, tmp_path: Path) -> None:
    theirs = OtherVersion.next(tmp_path / "other", root).request("hello")["sha256"]
    async with Host(root) as host:
        assert (await host.pipe.request("hello"))["sha256"] != theirs


@pytest.mark.promise("G20", "a client of another version meets a job that runs")
async def test_this_version_takes_over_what_another_has_started(
    root: Path, other: OtherVersion, ledger: Ledger, scripted: Scripted
) -> None:
    programs = scripted("--run-for", "600", "--on-term-exit", "5")
    spec = render_spec(Job.model_validate({"name": "job", "programs": programs}))
    other.request("install", spec=spec, owner=OWNER, if_running="adopt")
    other.request("start_supervisord", job="job")
    pid = by_process(other.request("start", **START))["p"]["pid"]
    ledger.wait_for(lambda book: book.starts())
    async with Host(root) as host:
        await host.install(programs=programs)
        adopted = (await host.start())["p"]
        assert (adopted["action"], adopted["pid"], adopted["state"]) == ("adopted", pid, "RUNNING")
        os.kill(host.supervisord_pid(), signal.SIGKILL)
        await host.wait(lambda s: s["p"]["state"] is None)
        await host.pipe.request("start_supervisord", job="job")
        assert (await host.wait(lambda s: s["p"]["state"] == "RUNNING"))["p"]["pid"] == pid
        stopped = (await host.stop())["p"]
        assert (stopped["exit_code"], stopped["record"]["reason"]) == (5, "stopped")
        assert (await host.start())["p"]["generation"] == 2
        ledger.wait_for(lambda book: len(book.alive()) == 1)
    assert len(ledger.starts()) == 2


@pytest.mark.promise("G20", "a client goes back to another version while a job runs")
async def test_another_version_takes_over_what_this_one_has_started(
    root: Path, other: OtherVersion, ledger: Ledger, scripted: Scripted
) -> None:
    programs = scripted("--run-for", "600", "--on-term-exit", "5")
    async with Host(root) as host:
        model = await host.install(programs=programs)
        pid = (await host.start())["p"]["pid"]
        ledger.wait_for(lambda book: book.starts())
    other.request("install", spec=render_spec(model), owner=OWNER, if_running="adopt")
    adopted = by_process(other.request("start", **START))["p"]
    assert (adopted["action"], adopted["pid"], adopted["state"]) == ("adopted", pid, "RUNNING")
    stopped = by_process(other.request("stop", **STOP))["p"]
    assert (stopped["exit_code"], stopped["record"]["reason"]) == (5, "stopped")
    assert by_process(other.request("start", **START))["p"]["generation"] == 2
    ledger.wait_for(lambda book: len(book.alive()) == 1)
    assert len(ledger.starts()) == 2
    by_process(other.request("stop", **STOP))
