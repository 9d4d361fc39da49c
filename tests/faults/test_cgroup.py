"""Where the host lets us have control groups, nothing escapes from a killed runner."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.agent.runner import own_cgroup
from tests.programs.ledger import Ledger
from tests.services.host import Host, wait_for

pytestmark = pytest.mark.skipif(own_cgroup() is None, reason="this host delegates no control group (v2) to us")
WITHOUT_A_TRACE = ["--double-fork", "--setsid", "--close-fds", "--clear-env", "--children", "3"]


@pytest.mark.promise("G5", "kill -9 of the runner, its tree without a trace but its control group")
async def test_what_hides_from_all_else_ends_with_its_runner(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]]
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--ignore-term", *WITHOUT_A_TRACE))
        runner = (await host.start())["p"]["runner_pid"]
        ledger.wait_for(lambda book: len({entry.pid for entry in book.starts() if entry.role == "child"}) >= 3)
        await host.pipe.request("watch", job="job", owner=None, consumer=None, logs=False, start="end", credit=1)
        os.kill(runner, signal.SIGKILL)
        lost = (await host.wait_ended())["p"]
        assert lost["record"]["reason"] == "lost"
        assert not ledger.alive()


async def test_no_group_is_left_behind(root: Path, scripted: Callable[..., dict[str, Any]]) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--double-fork", "--exit-code", "3"))
        await host.start()
        await host.wait_ended()
        group = Path(json.loads((root / "jobs/job/p/run.json").read_text())["cgroup"])
        assert group.name.startswith("asj-job-p-1-")
        await wait_for(lambda: not group.exists(), "the end of the control group")
