"""Which pipe leads to a host."""

from __future__ import annotations

from enum import Enum

from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.local import LocalPipe
from airflow_supervisor_jobs.hosts.stream import StreamPipe


class SSHLibrary(str, Enum):
    """Who speaks SSH: paramiko in a worker and on the command line, asyncssh in the triggerer."""

    PARAMIKO = "paramiko"
    ASYNCSSH = "asyncssh"


def open_pipe(settings: HostSettings, *, library: SSHLibrary = SSHLibrary.PARAMIKO) -> StreamPipe:
    """Return a pipe to the host, to be opened with ``async with``; a local host needs no library."""
    if settings.ssh is None:
        return LocalPipe(settings)
    if library is SSHLibrary.ASYNCSSH:
        from airflow_supervisor_jobs.hosts.asyncssh_pipe import AsyncSSHPipe

        return AsyncSSHPipe(settings)
    from airflow_supervisor_jobs.hosts.paramiko_pipe import ParamikoPipe

    return ParamikoPipe(settings)
