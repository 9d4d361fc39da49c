"""Several hosts on one machine: each has a network of its own, its own sshd, and a cable to here that can be pulled."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from typing_extensions import Self

from tests.services.sshd import OpenSSH

_PORT = 22
#: Addresses for trials between networks (RFC 2544): no real one has them. Each host has four, each test process 64.
_FIRST, _LAST = (198 << 24) | (18 << 16), (198 << 24) | (19 << 16) | 0xFFFF


def network_obstacle() -> str | None:
    """Return why no network namespaces can be made here, or None where they can."""
    name = f"sj{os.getpid()}probe"
    for words in (["ip", "netns", "add", name], ["ip", "netns", "delete", name]):
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return "there is no `ip` (Debian: apt-get install iproute2)"
        if done.returncode:
            return f"`{' '.join(words)}` says: {done.stderr.strip()}"
    return None


class FarHost(OpenSSH):
    """A host behind a cable, for as long as the ``with`` block lasts.

    :param folder: holds everything of its sshd; short and empty.
    """

    def __init__(self, folder: Path) -> None:
        own = f"{os.getpid():x}{id(self) & 0xFFFF:x}"
        self.namespace = f"sj{own}"
        super().__init__(folder, prefix=["ip", "netns", "exec", self.namespace])
        self._here, self._there = f"sh{own}", f"st{own}"
        self.port = _PORT

    def start(self) -> None:
        """Have the network, the cable and sshd."""
        if self.namespace not in _namespaces():
            here, self.hostname = _free_addresses()
            _ip("netns", "add", self.namespace)
            _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.namespace)
            _ip("address", "add", f"{here}/30", "dev", self._here)
            self._ip_there("address", "add", f"{self.hostname}/30", "dev", self._there)
            _ip("link", "set", self._here, "up")
            self._ip_there("link", "set", "lo", "up")
            self.plug()
        super().start()

    def unplug(self) -> None:
        """Pull its end of the cable: nothing comes through, and nobody is told."""
        self._ip_there("link", "set", self._there, "down")

    def plug(self) -> None:
        """Put it back."""
        self._ip_there("link", "set", self._there, "up")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        _ip("link", "delete", self._here, check=False)
        _ip("netns", "delete", self.namespace, check=False)

    def _ip_there(self, *words: str) -> None:
        _ip("-netns", self.namespace, *words)


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _namespaces() -> set[str]:
    return {line.split()[0] for line in _ip("netns", "list").splitlines()}


def _free_addresses() -> tuple[str, str]:
    """Return two addresses of a net of four that no interface here has."""
    taken = {
        address["local"] for link in json.loads(_ip("-json", "-4", "address") or "[]") for address in link["addr_info"]
    }
    for base in range(_FIRST + 64 * (os.getpid() % 2000), _LAST, 4):
        here, there = _dotted(base + 1), _dotted(base + 2)
        if here not in taken:
            return here, there
    raise RuntimeError("all of 198.18.0.0/15 is in use")


def _dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
