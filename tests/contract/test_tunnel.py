"""The tunnel to a host's supervisord, forwarded and relayed, used as people use it."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.tunnel import Way as TunnelWay
from airflow_supervisor_jobs.hosts.tunnel import serve_tunnel
from airflow_supervisor_jobs.testing import Script
from tests.contract.conftest import Way
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.sshd import OpenSSH

OWNER = {"run": "tunnel"}


@pytest.fixture(
    params=[
        pytest.param(("local", True), id="local"),
        pytest.param(("openssh", True), id="openssh-forwarded", marks=pytest.mark.openssh),
        pytest.param(("openssh", False), id="openssh-relayed", marks=pytest.mark.openssh),
        pytest.param(("embedded", True), id="embedded-forwarded"),
        pytest.param(("embedded", False), id="embedded-relayed"),
    ]
)
def reached(request: pytest.FixtureRequest, root: Path, short_folder: Path) -> Iterator[tuple[HostSettings, TunnelWay]]:
    """Yield a host, and how its tunnel has to get there."""
    kind, forwarding = request.param
    if kind == "local":
        yield resolve(Host(root=str(root))), TunnelWay.LOCAL
        return
    server: OpenSSH | EmbeddedSSH
    if kind == "openssh":
        options = {} if forwarding else {"DisableForwarding": "yes"}
        server = OpenSSH(short_folder / "s", options=options)
    else:
        server = EmbeddedSSH(short_folder / "s", forwarding=forwarding)
    with server:
        settings = resolve(Host.model_validate(server.host(name="far", root=str(root))), user_config=None)
        yield settings, TunnelWay.FORWARDED if forwarding else TunnelWay.RELAYED


async def supervisorctl(path: Path, *words: str) -> str:
    """Return what supervisorctl prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "supervisor.supervisorctl", "-s", f"unix://{path}", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


async def test_supervisorctl_works_through_the_tunnel(
    reached: tuple[HostSettings, TunnelWay], short_folder: Path
) -> None:
    settings, way = reached
    path = short_folder / "t.sock"
    spec = Way(lambda: open_pipe(settings), lambda: None).spec("job", p=Script(lines=("hello there",), holds=True))
    async with open_pipe(settings) as pipe:
        await pipe.request("install", spec=spec, owner=OWNER, if_running="adopt")
        await pipe.request("start_supervisord", job="job")
        await pipe.request("start", job="job", owner=OWNER, programs=None, if_running="adopt")
        async with serve_tunnel(settings, path=path) as tunnel:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            told = await asyncio.gather(*(supervisorctl(path, "status") for _ in range(3)))
            assert all("RUNNING" in one for one in told), told
            assert tunnel.way is way
            stopped = await supervisorctl(path, "stop", "job:p")
            assert "stopped" in stopped, stopped
        assert not path.exists()
        status = await pipe.request("status", job="job")
        assert status["jobs"][0]["processes"][0]["record"]["reason"] == "terminated"
        await pipe.request("remove", job="job", owner=OWNER, purge=True)
        await pipe.request("stop_supervisord", job="job", owner=OWNER)


async def test_without_a_supervisord_a_connection_is_closed_and_the_next_one_works(
    root: Path, short_folder: Path
) -> None:
    path = short_folder / "t.sock"
    async with serve_tunnel(resolve(Host(root=str(root))), path=path):
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(str(path))
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
            await writer.wait_closed()
