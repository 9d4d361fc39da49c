"""What a pipe needs to know of a host: one form, whichever way the host was described and whoever speaks SSH."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from airflow_supervisor_jobs.config import DEFAULT_ROOT

SSH_PORT = 22


class HostKeys(str, Enum):
    """Which host keys are accepted."""

    KNOWN = "known"
    """Only one that is pinned or stands in the known_hosts file."""
    NEW = "new"
    """Any of a host that the known_hosts file does not have; of one that it has, only that one."""
    ANY = "any"
    """Any. Whoever answers is believed to be the host."""


@dataclass(frozen=True)
class SSHSettings:
    """How a host is reached by SSH; durations are seconds, and what is secret is not shown by ``repr``."""

    hostname: str
    username: str
    port: int = SSH_PORT
    password: str | None = field(default=None, repr=False)
    key_file: str | None = None
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    look_for_keys: bool = True
    use_agent: bool = True
    host_keys: HostKeys = HostKeys.KNOWN
    host_key: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"
    proxy_command: str | None = None
    jump: SSHSettings | None = None
    conn_timeout: float = 10
    banner_timeout: float = 30
    auth_timeout: float = 30
    keepalive: int = 10
    compress: bool = True
    ciphers: tuple[str, ...] = ()
    disabled_algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def address(self) -> str:
        """``user@host:port``, for messages."""
        return f"{self.username}@{self.hostname}:{self.port}"


@dataclass(frozen=True)
class HostSettings:
    """Where an agent is started, and how; equal settings may share one pipe.

    :param host: how people call the host.
    :param root: the folder on the host that its supervisord serves.
    :param python: the command that runs the agent; None is our own interpreter here, and ``python3`` elsewhere.
    :param supervisord: the command of the host's supervisord; None lets the agent look for it.
    :param start_timeout: how many seconds an agent has to give its first answer.
    :param ssh: how the host is reached; None is this machine.
    """

    host: str = "local"
    root: str = DEFAULT_ROOT
    python: str | None = None
    supervisord: str | None = None
    start_timeout: float = 60
    ssh: SSHSettings | None = None
