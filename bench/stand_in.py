"""One SSH server that plays many hosts, told apart by their roots, with an agent in memory behind each channel.

python -m bench.stand_in FOLDER HOSTS JOBS

It prints where it listens as JSON. For each line ``HOST JOB`` that it then reads that program ends, and it says when.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh

from airflow_supervisor_jobs.config import make_job, render_spec
from airflow_supervisor_jobs.testing.host import MemoryHost
from airflow_supervisor_jobs.testing.pipe import MemoryChannel
from airflow_supervisor_jobs.testing.process import Script
from bench.stage import OWNER
from tests.services.ssh import LOOPBACK, SSHAccount

BEAT_S = 5.0
#: It runs until it is told to end.
FOREVER = Script(holds=True)


def job_name(number: int) -> str:
    """Return what the job of that number is called on every host."""
    return f"job{number}"


def root_name(number: int) -> str:
    """Return the root of the host of that number."""
    return f"/host/{number}"


class Hosts:
    """The hosts, by root."""

    def __init__(self, hosts: int, jobs: int) -> None:
        self.by_root = {root_name(number): MemoryHost(name=str(number)) for number in range(hosts)}
        self.jobs = jobs

    def set_up(self) -> None:
        """Every host has its jobs, and they run."""
        specs = [render_spec(make_job({"command": "true"}, name=job_name(number))) for number in range(self.jobs)]
        for host in self.by_root.values():
            host.scripts = {job_name(number): FOREVER for number in range(self.jobs)}
            for spec in specs:
                host.answer("install", {"spec": spec, "owner": OWNER, "if_running": "fail"})
            host.answer("start_supervisord", {"job": job_name(0)})
            for spec in specs:
                start = {"job": spec["job"], "owner": OWNER, "programs": None, "if_running": "fail", "by": "bench"}
                host.answer("start", start)

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Be the agent of the root that the loader is told, until the client hangs up."""
        loader = await process.stdin.readline()
        header = await process.stdin.readline()
        channel = MemoryChannel(self.by_root[json.loads(header)["root"]])
        await channel.write(loader + header)
        tasks = [asyncio.create_task(work) for work in (self.talk(channel, process), self.beat(channel))]
        with suppress(asyncssh.Error, OSError):
            while data := await process.stdin.read(65536):
                await channel.write(data)
        for task in tasks:
            task.cancel()
        await channel.close()
        process.exit(0)

    async def talk(self, channel: MemoryChannel, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Carry what the agent says."""
        with suppress(asyncssh.Error, OSError):
            while data := await channel.read():
                process.stdout.write(data)

    async def beat(self, channel: MemoryChannel) -> None:
        """Say now and then that the host lives."""
        while True:
            await asyncio.sleep(BEAT_S)
            channel.send({"event": "beat"})


async def serve(folder: Path, hosts: int, jobs: int) -> None:
    """Be the server until the input ends."""
    account = SSHAccount(folder)
    account.write_keys()
    played = Hosts(hosts, jobs)
    played.set_up()
    acceptor = await asyncssh.create_server(
        asyncssh.SSHServer,
        LOOPBACK,
        0,
        server_host_keys=[str(account.host_key_file)],
        authorized_client_keys=str(account.authorized_keys),
        process_factory=played.serve,
        encoding=None,
        gss_host=None,
        backlog=1024,
        login_timeout=600,
    )
    account.port = acceptor.get_port()
    account.write_known_hosts()
    print(json.dumps(account.host(host_key=account.host_key)), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        host, job = map(int, line.split())
        at = time.time()
        played.by_root[root_name(host)].end(job_name(job), job_name(job))
        print(json.dumps({"host": host, "job": job, "at": at}), flush=True)


def main(arguments: Any) -> None:
    """Serve as the command line says."""
    folder, hosts, jobs = arguments
    asyncio.run(serve(Path(folder), int(hosts), int(jobs)))


if __name__ == "__main__":
    main(sys.argv[1:])
