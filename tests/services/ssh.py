"""What both SSH servers of the tests have in common: fresh keys, a home of their own, and where they listen."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import asyncssh

LOOPBACK = "127.0.0.1"
#: Where a login finds its commands: a python3, and no supervisord of ours.
LOGIN_PATH = f"{Path(sys.base_prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"


class SSHAccount:
    """Keys, home and address of an SSH server on loopback; everything lies in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.hostname = LOOPBACK
        self.username = getpass.getuser()
        self.port = 0
        self.key_file = folder / "client_key"
        self.known_hosts = folder / "known_hosts"
        self.host_key = ""
        self.path = LOGIN_PATH

    def write_keys(self) -> None:
        """Make the client's key, the host's key and the home."""
        self.home.mkdir(parents=True, exist_ok=True)
        client, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        self.authorized_keys.write_bytes(client.export_public_key())
        for path, key in ((self.key_file, client), (self.host_key_file, host)):
            path.touch(mode=0o600)
            path.write_bytes(key.export_private_key())
        self.host_key = " ".join(host.export_public_key().decode().split()[:2])

    def write_known_hosts(self) -> None:
        """Let the known_hosts file name the server; its port must be known."""
        self.known_hosts.write_text(f"[{self.hostname}]:{self.port} {self.host_key}\n")

    @property
    def host_key_file(self) -> Path:
        """The server's private key."""
        return self.folder / "host_key"

    @property
    def authorized_keys(self) -> Path:
        """The keys that may log in."""
        return self.folder / "authorized_keys"

    def environment(self) -> dict[str, str]:
        """Return what a login sees; its HOME is never the real one."""
        return {"HOME": str(self.home), "PATH": self.path}

    def host(self, **more: Any) -> dict[str, Any]:
        """Return the fields of a ``Host`` that leads here."""
        return {
            "hostname": self.hostname,
            "port": self.port,
            "username": self.username,
            "key_file": str(self.key_file),
            "known_hosts": str(self.known_hosts),
            **more,
        }

    def connection(self, **extra: Any) -> str:
        """Return the value of an ``AIRFLOW_CONN_…`` variable that leads here, with the host key pinned."""
        extra = {"key_file": str(self.key_file), "host_key": self.host_key, **extra}
        return json.dumps(
            {"conn_type": "ssh", "host": self.hostname, "port": self.port, "login": self.username, "extra": extra}
        )


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """Return the pids of the living children of ``pid``."""
    children = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                children.append(int(entry))
    return children
