"""A configuration is old or new, never half, whatever fails on its way to the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import HostError
from tests.services.host import Host, wait_for

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") and not os.environ.get("CI"), reason="strace, which makes system calls fail, is missing"
)
#: What is made to fail, and how: the disk is full, or the agent is killed right there.
CALLS = {"fsync": "fsync", "rename": "?rename,?renameat,?renameat2", "unlink": "?unlink,?unlinkat"}
FATES = {"fails": "error=ENOSPC", "kills": "signal=KILL"}
#: Every so many calls one meets its fate; all of them in the long form.
STEP = int(os.environ.get("FAULTS_STEP", "3"))


def python_whose_calls_fail(folder: Path, calls: str, fate: str, number: int) -> tuple[str, Path]:
    """Return a Python whose ``number``-th of these system calls meets its fate, and the file that tells whether."""
    script, told = folder / f"python-{number}", folder / f"told-{number}"
    watched = f"-o {told} -e trace={CALLS[calls]} -e inject={CALLS[calls]}:{FATES[fate]}:when={number}"
    script.write_text(f'#!/bin/sh\nexec strace -f -qq {watched} {sys.executable} "$@"\n')
    script.chmod(0o700)
    return str(script), told


class Versions:
    """Two programs of which every start says which version of each part it is made of."""

    def __init__(self, folder: Path) -> None:
        self.said = {name: folder / f"{name}.said" for name in "pq"}
        self.starts = 0

    def programs(self, version: str) -> dict[str, Any]:
        def program(said: Path) -> dict[str, Any]:
            script = f'echo "$0 $VERSION" >> {said}; exec sleep 600'
            return {"command": ["sh", "-c", script, version], "environment": {"VERSION": version}, "stopwaitsecs": 1}

        return {name: program(said) for name, said in self.said.items()}

    async def newest(self) -> set[str]:
        """Return what the programs said at the start that was just ordered."""
        self.starts += 1
        lines = await wait_for(self._all_lines, "a line from each program's start")
        return {word for line in lines for word in line.split()}

    def _all_lines(self) -> list[str]:
        lines = [path.read_text().splitlines() if path.exists() else [] for path in self.said.values()]
        return [each[-1] for each in lines] if all(len(each) == self.starts for each in lines) else []


@needs_strace
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("calls", CALLS)
async def test_an_installation_that_fails_anywhere_leaves_the_old_or_the_new(
    root: Path, tmp_path: Path, calls: str, fate: str
) -> None:
    versions = Versions(tmp_path)
    async with Host(root) as host:
        await host.install(programs=versions.programs("v0"))
        pids = {name: one["pid"] for name, one in (await host.start()).items()}
        before = await versions.newest()
        for number in range(1, 100, STEP):
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
