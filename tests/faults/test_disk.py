"""A full disk costs log lines, which are counted, and never the exit status; a config is old or new, never half."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.exceptions import AgentError, HostError
from tests.services.host import OTHER, Host
from tests.services.parts import Versions

PAGE = 4096
Scripted = Callable[..., dict[str, Any]]


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """Yield the root on a disk of its own, of 2 MiB."""
    if os.getuid():
        pytest.skip("mounting a small disk takes root")
    root.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", root], check=True)
    yield root
    subprocess.run(["umount", "--lazy", root], check=True)


def fill(path: Path, *, but_for: int = 0) -> None:
    """Use up the disk that the file is on, but for so many pages."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * PAGE)
        file.truncate(file.tell() // PAGE * PAGE - but_for * PAGE)


@pytest.mark.promise("G12", "8 MiB of output on a disk of 2 MiB", weight=0.5)
async def test_a_full_disk_costs_lines_that_are_counted_and_never_the_status(
    small_disk: Path, scripted: Scripted
) -> None:
    async with Host(small_disk) as host:
        await host.install(programs=scripted("--print-bytes", str(8 << 20), "--exit-code", "42"))
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert (ended["exit_code"], ended["record"]["reason"]) == (42, "exited")
        kept = (small_disk / "jobs/job/p/stdout.log").stat().st_size
        assert ended["record"]["dropped"] == (8 << 20) - kept > 0


@pytest.mark.promise("G10", "an installation on a full disk", weight=0.5)
async def test_an_installation_on_a_full_disk_is_refused_and_changes_nothing(
    small_disk: Path, scripted: Scripted
) -> None:
    async with Host(small_disk) as host:
        await host.install(programs=scripted("--run-for", "600"))
        pid = (await host.start())["p"]["pid"]
        before = (small_disk / "programs.conf").read_bytes()
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(AgentError) as refusal:
            await host.install(OTHER, name="other", programs=scripted("--run-for", "600"))
        assert refusal.value.code == "host"
        assert (small_disk / "programs.conf").read_bytes() == before
        filler.unlink()
        status = (await host.status())["p"]
        assert (status["pid"], status["state"]) == (pid, "RUNNING")
        await host.install(OTHER, name="other", programs=scripted("--run-for", "600"))


@pytest.mark.promise("G10", "an installation while the disk fills up, at every page")
async def test_an_installation_that_runs_out_of_room_leaves_the_old_or_the_new(
    small_disk: Path, tmp_path: Path
) -> None:
    versions = Versions(tmp_path)
    filler = small_disk / "filler"
    async with Host(small_disk) as host:
        await host.install(programs=versions.programs("v0"))
        await host.start()
        before, pages = await versions.newest(), 0
        while before != {f"v{pages}"} or not pages:
            pages += 1
            fill(filler, but_for=pages)
            with contextlib.suppress(HostError):
                await host.install(programs=versions.programs(f"v{pages}"))
            filler.unlink()
            subprocess.run([small_disk / "bin/supervisorctl", "restart", "job:*"], check=True, capture_output=True)
            after = await versions.newest()
            assert after in (before, {f"v{pages}"})
            before = after
        assert pages > 5
