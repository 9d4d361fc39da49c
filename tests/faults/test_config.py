"""A configuration is old or new, never half, whatever fails on its way to the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_supervisor_jobs.exceptions import HostError
from tests.faults.campaign.trial import Trial
from tests.services.host import Host
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
@pytest.mark.promise("G10", "a rename, fsync or unlink of an installation fails, or the agent is killed there")
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
