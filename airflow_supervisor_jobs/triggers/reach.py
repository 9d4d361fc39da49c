"""From a pinned host to an open pipe: by paramiko in a worker, by the shared asyncssh pool in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.connections import aload_connection, load_connection
from airflow_supervisor_jobs.hosts.pool import pool
from airflow_supervisor_jobs.hosts.settings import HostSettings, resolve

Pipes = Callable[[], AbstractAsyncContextManager[Pipe]]


def worker_settings(host: Host) -> HostSettings:
    """Return how to reach the host; its Airflow connection, if it names one, is read."""
    return resolve(host, load_connection(host.ssh_conn_id) if host.ssh_conn_id else None)


def worker_pipes(host: Host) -> Pipes:
    """Return what opens a pipe of the caller's own."""
    settings = worker_settings(host)
    return lambda: open_pipe(settings)


def triggerer_pipes(host: Host) -> Pipes:
    """Return what lends the triggerer's one pipe to the host; the connection is read each time it is asked."""

    @asynccontextmanager
    async def lend() -> AsyncIterator[Pipe]:
        connection = await aload_connection(host.ssh_conn_id) if host.ssh_conn_id else None
        async with pool().pipe(resolve(host, connection)) as pipe:
            yield pipe

    return lend


def ask(host: Host, verb: str, /, **params: Any) -> dict[str, Any]:
    """Return the host's answer to one request, over a pipe of its own.

    :raises HostUnreachable: whether the verb took effect is unknown; every verb is idempotent.
    :raises AgentError: it refused.
    """

    async def conversation() -> dict[str, Any]:
        async with worker_pipes(host)() as pipe:
            return await pipe.request(verb, **params)

    return asyncio.run(conversation())
