"""Every way to a host, behind one face: the suite is the same for all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.config import Host, Job, render_spec
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script

#: Does what a Script says; its lines come as numbers, because arguments cannot carry every byte.
PROGRAM = """
import json, os, signal, sys
script = json.loads(sys.argv[1])
for name, fd in (("lines", 1), ("errors", 2)):
    for line in script[name]:
        os.write(fd, bytes(line))
while script["holds"]:
    signal.pause()
if script["signal"]:
    os.kill(os.getpid(), script["signal"])
sys.exit(script["exit_code"])
"""


@dataclass
class Way:
    """A way to a host.

    :ivar open: returns a new pipe, not opened yet.
    :ivar cut: breaks every connection at once.
    """

    open: Callable[[], Pipe]
    cut: Callable[[], None]
    memory: MemoryHost | None = None

    def spec(self, job: str, **scripts: Script) -> dict[str, Any]:
        """Return what ``install`` gets for a job whose programs do what the scripts say."""
        if self.memory is not None:
            self.memory.scripts.update(scripts)
        programs = {name: {"command": command(script), "stopwaitsecs": 5} for name, script in scripts.items()}
        return render_spec(Job.model_validate({"name": job, "programs": programs}))


def command(script: Script) -> list[str]:
    """Return a command that does what the script says."""
    told = {
        "lines": [list(as_bytes(line)) for line in script.lines],
        "errors": [list(as_bytes(line)) for line in script.errors],
        "exit_code": script.exit_code,
        "signal": script.signal,
        "holds": script.holds,
    }
    return [sys.executable, "-S", "-c", PROGRAM, json.dumps(told)]


def as_bytes(line: str | bytes) -> bytes:
    """Return what a script writes for a line."""
    return line if isinstance(line, bytes) else f"{line}\n".encode()


SSH_WAYS = [
    pytest.param((library, server), id=f"{library.value}-{server}", marks=marks)
    for server, marks in (("openssh", [pytest.mark.openssh]), ("embedded_ssh", []))
    for library in SSHLibrary
]


@pytest.fixture(params=["memory", "local", *SSH_WAYS])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """Yield each way in turn."""
    if request.param == "memory":
        host = MemoryHost()
        yield Way(lambda: MemoryPipe(host), host.cut, host)
        return
    root: Path = request.getfixturevalue("root")
    if request.param == "local":
        settings = resolve(Host(root=str(root)))
        pipes: list[Pipe] = []

        def open_local() -> Pipe:
            pipes.append(open_pipe(settings))
            return pipes[-1]

        yield Way(open_local, lambda: [kill_agent(pipe) for pipe in pipes] and None)
        return
    library, server_name = request.param
    server = request.getfixturevalue(server_name)
    settings = resolve(Host.model_validate(server.host(name="far", root=str(root))), user_config=None)
    yield Way(lambda: open_pipe(settings, library=library), server.drop_connections)


def kill_agent(pipe: Pipe) -> None:
    """Break a local pipe from outside."""
    channel = pipe._channel  # type: ignore[attr-defined]
    if channel is not None and channel._process.returncode is None:
        channel._process.kill()
