"""A host behind a real sshd and a link that can be told to fail."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from airflow_supervisor_jobs.config import Host as HostModel
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import SSHLibrary
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.triggers import reach
from tests.services.host import OWNER, Host, by_process
from tests.services.link import Link
from tests.services.sshd import OpenSSH

Processes = dict[str, dict[str, Any]]


@dataclass
class Far:
    """A host behind a real sshd, once as it is and once behind a link that fails."""

    server: OpenSSH
    link: Link
    near: Host
    model: HostModel

    async def ask(self, library: SSHLibrary, verb: str, **params: Any) -> dict[str, Any]:
        """Ask through the link, as a worker does (paramiko) or as a trigger does (asyncssh)."""
        if library is SSHLibrary.PARAMIKO:
            return await asyncio.to_thread(reach.ask, self.model, verb, **params)
        async with Pool(linger=0).pipe(resolve(self.model, user_config=None)) as pipe:
            return await pipe.request(verb, **params)

    async def start(self, library: SSHLibrary) -> Processes:
        """Have the job run, asked through the link; return what was done, by process."""
        params = {"job": "job", "owner": dict(OWNER), "programs": None, "if_running": "adopt", "by": "a test"}
        return by_process(await self.ask(library, "start", **params))

    def pipes(self) -> AbstractAsyncContextManager[Pipe]:
        """Lead through the link, as for a trigger."""
        return self._pool.pipe(resolve(self.model, user_config=None))

    def __post_init__(self) -> None:
        self._pool = Pool(linger=0)

    def be_slow(self) -> None:
        """Let less through than a program prints."""
        self.link.piece, self.link.delay_s = 8192, 0.01
