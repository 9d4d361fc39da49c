"""Where jobs run: the host, how to reach it, and its supervisord."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from airflow_supervisor_jobs.config.base import MisfitError, Model, Owner
from airflow_supervisor_jobs.config.daemon import (
    Include,
    InetHttpServer,
    RpcInterface,
    Supervisorctl,
    Supervisord,
    UnixHttpServer,
)
from airflow_supervisor_jobs.config.host_key import HostKey
from airflow_supervisor_jobs.config.names import Name
from airflow_supervisor_jobs.config.values import Boolean, ByteSize, Duration, Strings, Text, is_template

#: The folder on a host that one supervisord serves, unless a host says otherwise.
DEFAULT_ROOT = "~/.airflow-supervisor-jobs"

#: What a host is called whose address is a template and that was given no name, until it is rendered.
UNNAMED = "unnamed"

_SSH_ONLY = (
    "port", "username", "key_file", "known_hosts", "host_key", "password_env", "passphrase_env", "use_agent",
    "proxy_command", "proxy_jump", "conn_timeout", "banner_timeout", "cmd_timeout", "compress", "ciphers",
)  # fmt: skip


class Host(Model):
    """Where a job runs: this machine, or one that is reached by SSH."""

    name: Name = "local"
    """How people call it; by default the name of its file in `configs/host/`."""

    ssh_conn_id: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The Airflow connection to reach it by. With neither this nor `hostname` it is the machine that asks."""

    hostname: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """Its name or address. With `ssh_conn_id` too, this one is connected to, by that connection."""

    port: Annotated[Annotated[int, Field(ge=1, le=65535)] | None, Owner.CLIENT] = None
    """sshd's port; 22 by default."""

    username: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """Whom to log in as."""

    key_file: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The private key's file."""

    known_hosts: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The file of known host keys; `~/.ssh/known_hosts` by default."""

    host_key: Annotated[HostKey | None, Field(min_length=1), Owner.CLIENT] = None
    """The host's public key, as `ssh-keyscan` prints it without the name. No other is then accepted."""

    password_env: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The environment variable that holds the password."""

    passphrase_env: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The environment variable that holds the key's passphrase."""

    use_agent: Annotated[Boolean | None, Owner.CLIENT] = None
    """Whether the user's ssh-agent may be asked for keys."""

    proxy_command: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """A command whose standard input and output lead to the host's sshd."""

    proxy_jump: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """Another host to go through: `[user@]host[:port]`."""

    conn_timeout: Annotated[Duration | None, Owner.CLIENT] = None
    """Seconds that connecting may take."""

    banner_timeout: Annotated[Duration | None, Owner.CLIENT] = None
    """Seconds that sshd may take to say hello."""

    cmd_timeout: Annotated[Duration | None, Owner.CLIENT] = None
    """Seconds that one order to the host may take."""

    compress: Annotated[Boolean | None, Owner.CLIENT] = None
    """Whether the connection is compressed."""

    ciphers: Annotated[Strings | None, Owner.CLIENT] = None
    """The ciphers that may be used, the best first."""

    root: Annotated[Text, Field(min_length=1), Owner.AGENT] = DEFAULT_ROOT
    """The folder on the host that its supervisord serves. Two roots are two supervisords."""

    python: Annotated[Text | None, Field(min_length=1), Owner.CLIENT] = None
    """The host's Python, 3.6 or newer; `python3` by default, on the local host the one that asks."""

    log_retention: Annotated[Duration | None, Owner.AGENT] = 30 * 86400
    """Seconds for which the logs and records of a job that was removed are kept; null is for ever."""

    log_retention_size: Annotated[ByteSize | None, Owner.AGENT] = None
    """How much of the disk they may take together, as `10GB`; the oldest go first."""

    supervisord: Supervisord = Supervisord()
    """The `[supervisord]` section, and which supervisord to use."""

    unix_http_server: UnixHttpServer = UnixHttpServer()
    """The `[unix_http_server]` section: the socket that we talk to it by."""

    inet_http_server: InetHttpServer | None = None
    """The `[inet_http_server]` section: a TCP listener, on the loopback only. There is none by default."""

    rpc_interfaces: dict[Name, RpcInterface] = Field(default_factory=dict)
    """`[rpcinterface:x]` sections by name."""

    include: Include | None = None
    """The `[include]` section: other files of the host's own."""

    supervisorctl: Supervisorctl = Supervisorctl()
    """The `[supervisorctl]` section."""

    @property
    def is_local(self) -> bool:
        """Whether it is the machine that asks."""
        return self.ssh_conn_id is None and self.hostname is None

    @field_validator("hostname")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value and not is_template(value) and not re.fullmatch(r"[^\s-]\S*", value):
            raise ValueError(f"{value!r} is not a name or an address. It has no blanks, and no '-' first")
        return value

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not is_template(value) and not re.fullmatch(r"(/|~/)[^\r\n]*[^\s/][^\r\n]*", value):
            raise ValueError(f"{value!r} is not a folder of its own. Write an absolute path, or ~/PATH")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Host:
        if self.is_local:
            idle = [name for name in _SSH_ONLY if getattr(self, name) is not None]
            if idle:
                raise MisfitError("is for SSH. Add hostname or ssh_conn_id, or leave it out", idle[0])
        return self
