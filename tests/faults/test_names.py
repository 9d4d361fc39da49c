"""Names that are also those of something else on a host."""

from __future__ import annotations

from pathlib import Path

from tests.services.host import Host


async def test_a_job_and_its_program_may_be_called_job(root: Path) -> None:
    async with Host(root) as host:
        await host.install(name="job", programs={"job": {"command": "true"}})
        assert (await host.start())["job"]["action"] == "started"
        assert (await host.wait_ended())["job"]["exit_code"] == 0
