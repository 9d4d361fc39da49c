"""A configuration is old or new, never half, whatever fails on its way to the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import render_spec
from airflow_supervisor_jobs.exceptions import AgentError, HostError
from tests.faults.campaign.trial import Trial
from tests.services.host import OWNER, Host
from tests.services.parts import Versions

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") and not os.environ.get("CI"), reason="strace, which makes system calls fail, is missing"
)
#: What is made to fail, and how: the disk is full, or the agent is killed right there.
CALLS = {"fsync": "fsync", "rename": "?rename,?renameat,?renameat2", "unlink": "?unlink,?unlinkat"}
FATES = {"fails": "error=ENOSPC", "kills": "signal=KILL"}
#: Every so many calls, one meets its fate.
STEP = 3


def python_whose_calls_fail(folder: Path, calls: str, fate: str, number: int) -> tuple[str, Path]:
    """Return a Python whose ``number``-th of these system calls meets its fate, and the file that tells whether."""
    script, told = folder / f"python-{number}", folder / f"told-{number}"
    watched = f"-o {told} -e trace={CALLS[calls]} -e inject={CALLS[calls]}:{FATES[fate]}:when={number}"
    script.write_text(f'#!/bin/sh\nexec strace -f -qq {watched} {sys.executable} "$@"\n')
    script.chmod(0o700)
    return str(script), told


@needs_strace
@pytest.mark.promise(
    "G10", "a rename, fsync or unlink of an installation fails, or the agent is killed there", weight=0.5
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("calls", CALLS)
async def test_an_installation_that_fails_anywhere_leaves_the_old_or_the_new(
    root: Path, tmp_path: Path, trial: Trial, calls: str, fate: str
) -> None:
    versions = Versions(tmp_path)
    async with Host(root) as host:
        await host.install(programs=versions.programs("v0"))
        pids = {name: one["pid"] for name, one in (await host.start()).items()}
        before = await versions.newest()
        for number in range(trial.random.randint(1, STEP), 100, STEP):
            python, told = python_whose_calls_fail(tmp_path, calls, fate, number)
            with contextlib.suppress(HostError):
                async with Host(root, python=python) as failing:
                    await failing.install(programs=versions.programs(f"v{number}"))
            assert {name: one["pid"] for name, one in (await host.status()).items()} == pids
            subprocess.run([root / "bin/supervisorctl", "restart", "job:*"], check=True, capture_output=True)
            after = await versions.newest()
            assert after in (before, {f"v{number}"})
            pids = {name: one["pid"] for name, one in (await host.status()).items()}
            before = after
            if "INJECTED" not in (said := told.read_text()) and "killed by SIGKILL" not in said:
                assert after == {f"v{number}"}
                return
        pytest.fail("it never came through")


@pytest.mark.promise("G10", "supervisord refuses the configuration of a job")
async def test_what_supervisord_refuses_is_as_if_it_had_never_been_installed(root: Path, trial: Trial) -> None:
    async with Host(root) as host:
        await host.install(name="other", programs={"p": {"command": "sleep 600"}})
        model = await host.install(programs={"p": {"command": "sleep 600"}})
        pids = {name: one["pid"] for name, one in (await host.start()).items()}
        before = (root / "programs.conf").read_text().partition("\n")[2]
        for changed in (model, model.model_copy(update={"name": "new"})):
            spec = render_spec(changed)
            refused = {**spec, "hash": "0" * 32, "conf": spec["conf"] + "[program:x]\n"}
            with pytest.raises(AgentError, match=r"supervisord refuses the configuration.*program:x"):
                await host.pipe.request("install", spec=refused, owner=OWNER, if_running="adopt")
            assert (root / "programs.conf").read_text().partition("\n")[2] == before
        status = await host.pipe.request("status", job=None)
        assert [(job["job"], job["hash"]) for job in status["jobs"]] == [
            ("job", render_spec(model)["hash"]),
            ("other", status["jobs"][1]["hash"]),
        ]
        assert {name: one["pid"] for name, one in (await host.status()).items()} == pids
        await host.start("other")
