"""Nothing piles up: what is long over goes, what runs or is installed stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host

LONG_AGO = time.time() - 40 * 86400


def age(*paths: Path) -> None:
    for path in paths:
        for each in [path, *path.rglob("*")]:
            os.utime(each, (LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.mark.promise("G16", "what is long over, beside what runs, is installed or was removed lately", weight=0.25)
async def test_what_is_long_over_goes_and_what_is_in_use_stays(
    root: Path, ledger: Ledger, scripted: Callable[..., dict[str, Any]]
) -> None:
    async with Host(root) as host:
        await host.install(name="running", programs=scripted("--run-for", "600"))
        await host.start("running")
        for job in ("removed", "removed_lately"):
            await host.install(name=job, programs={"p": {"command": "true"}})
            await host.start(job)
            await host.wait_ended(job)
            await host.pipe.request("remove", job=job, owner=OWNER, purge=False)
        old_agent = root / "agent/0000.pyz"
        old_agent.touch()
        in_use = sorted(path for path in (root / "agent").rglob("*") if path != old_agent)
        age(root / "jobs/removed", root / "jobs/running", root / "agent")
        os.utime(next(path for path in in_use if path.suffix == ".pyz"))
        await host.install(name="another", programs={"p": {"command": "true"}})
        assert not old_agent.exists()
        assert sorted((root / "agent").rglob("*")) == in_use
        assert {path.name for path in (root / "jobs").iterdir()} == {"running", "removed_lately", "another"}
        assert len(ledger.alive()) == 1


async def test_of_what_is_over_the_oldest_goes_when_it_takes_too_much_room(root: Path) -> None:
    job = {
        "programs": {"p": {"command": "head -c 300000 /dev/zero"}},
        "host": {"log_retention": None, "log_retention_size": "900KB"},
    }
    async with Host(root) as host:
        for number in range(4):
            await host.install(name=f"over_{number}", **job)
            await host.start(f"over_{number}")
            await host.wait_ended(f"over_{number}")
            await host.pipe.request("remove", job=f"over_{number}", owner=OWNER, purge=False)
            folder = root / "jobs" / f"over_{number}"
            for path in [folder, *folder.rglob("*")]:
                os.utime(path, (LONG_AGO + number, LONG_AGO + number), follow_symlinks=False)
        await host.install(name="kept", **job)
        assert {path.name for path in (root / "jobs").iterdir()} == {"kept", "over_2", "over_3"}
