"""A real OpenSSH server on loopback, with keys and a home of its own; for the tests and for the demo."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import Self

from tests.services.ssh import SSHAccount, children_of, free_port

_START_LIMIT = 15
_ATTEMPTS = 5


def find_sshd() -> str | None:
    """Return the path of OpenSSH's server, if it is installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")


class OpenSSH(SSHAccount):
    """An sshd, for as long as the ``with`` block lasts.

    :param folder: holds everything of it; short and empty.
    :param options: more options of sshd_config, such as ``{"DisableForwarding": "yes"}``.
    :param key_options: what stands before the key in authorized_keys, such as ``restrict``.
    :param prefix: what starts it elsewhere, such as in another network namespace; it must execute sshd in its place.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Mapping[str, str] | None = None,
        key_options: str = "",
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self._options = dict(options or {})
        self._key_options = key_options
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What sshd says."""
        return self.folder / "sshd.log"

    def start(self) -> None:
        """Listen; the port stays the same when it was stopped and is started again."""
        if not self.host_key:
            self.write_keys()
            if self._key_options:
                self.authorized_keys.write_text(f"{self._key_options} {self.authorized_keys.read_text()}")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if self._started():
                self.write_known_hosts()
                return
        raise RuntimeError(f"sshd does not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it and every connection."""
        if self._process is not None:
            self.thaw()
            self.drop_connections()
            self._process.terminate()
            self._process.wait(10)
            self.drop_connections()
            self._process = None

    def drop_connections(self) -> None:
        """Cut every connection at once, as a network does that says nothing more; sshd goes on listening."""
        for pid in self.connections():
            for victim in (pid, *children_of(pid)):
                if _is_sshd(victim):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)

    def freeze(self) -> None:
        """Say nothing more to whoever connects: the system accepts for it. Connections that there are go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Speak again, to those first who came meanwhile."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def logins(self) -> int:
        """Return how many connections have been authenticated so far."""
        return self._said().count("Accepted publickey")

    def is_overrun(self) -> bool:
        """Return whether it has dropped a connection because too many were not authenticated yet."""
        return "MaxStartups" in self._said()

    def connections(self) -> list[int]:
        """Return the pids that serve a connection each."""
        return children_of(self._process.pid) if self._process is not None else []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")

    def _started(self) -> bool:
        self.port = self.port or free_port()
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        program = find_sshd()
        if program is None:
            raise RuntimeError("OpenSSH's sshd is not installed (Debian: apt-get install openssh-server).")
        self._process = subprocess.Popen(
            [*_ended_with_us(), *self._prefix, program, "-D", "-f", str(config), "-E", str(self.log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_LIMIT
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((self.hostname, self.port), timeout=1) as link:
                link.settimeout(5)
                if link.recv(4) == b"SSH-":
                    return True
        self._process.kill()
        self._process.wait()
        if "Address already in use" in self.log.read_text():
            self.port = 0
        return False

    def _config(self) -> str:
        environment = " ".join(f'{name}="{value}"' for name, value in self.environment().items())
        options = {
            "Port": str(self.port),
            "ListenAddress": self.hostname,
            "HostKey": str(self.host_key_file),
            "AuthorizedKeysFile": str(self.authorized_keys),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "LogLevel": "VERBOSE",
            "SetEnv": environment,
            **self._options,
        }
        return "".join(f"{name} {value}\n" for name, value in options.items())


def _ended_with_us() -> list[str]:
    """Return what has a command ended when we are, even by a KILL; nothing where the system has no such tool."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False
