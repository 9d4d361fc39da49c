"""supervisord as it comes, with a client that speaks its XML-RPC."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any
from xmlrpc.client import Fault, ServerProxy, Transport

from typing_extensions import override

from tests.faults.peers.system import Status, System
from tests.services.host import wait_for
from tests.services.processes import end_processes_of

CONFIG = """
[supervisord]
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
childlogdir={here}
[unix_http_server]
file={here}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:p]
command={command}
stopwaitsecs=2
{more}
"""
OVER = ("EXITED", "STOPPED", "FATAL")


class _OverSocket(Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    @override
    def make_connection(self, host: Any) -> HTTPConnection:
        connection = HTTPConnection("localhost")
        connection.sock = socket(AF_UNIX, SOCK_STREAM)
        connection.sock.connect(self._path)
        return connection


class Supervisord(System):
    """One supervisord with one program: never restarted, stopped and killed as a group; all else by its defaults."""

    name = "plain supervisord"

    @property
    def api(self) -> Any:
        """A client of its API."""
        return ServerProxy("http://localhost", transport=_OverSocket(self.folder / "sock")).supervisor

    @override
    async def __aexit__(self, *_: object) -> None:
        end_processes_of(self.folder)

    @override
    async def start(self, command: list[str]) -> None:
        self.configure(command, "autorestart=false\nstartsecs=0\nstopasgroup=true\nkillasgroup=true")
        await self.start_anew()

    def configure(self, command: list[str], more: str) -> None:
        """Write the config; what is not in it is supervisord's default."""
        text = CONFIG.format(here=self.folder, command=shlex.join(command).replace("'", ""), more=more)
        (self.folder / "supervisord.conf").write_text(text)

    @override
    async def start_again(self) -> None:
        with contextlib.suppress(Fault):  # it runs
            self.api.startProcess("p")

    @override
    async def stop(self) -> None:
        self.api.stopProcess("p")

    @override
    async def end(self, *, within: float) -> Status | None:
        with contextlib.suppress(AssertionError):
            await wait_for(lambda: self.info("p")["statename"] in OVER, "an end", within=within)
            return self.info("p")["exitstatus"], None
        return None

    def info(self, process: str) -> dict[str, Any]:
        """Return what supervisord says of a process."""
        info: dict[str, Any] = self.api.getProcessInfo(process)
        return info

    @override
    async def ends(self, command: list[str], numbers: list[int]) -> dict[int, Status]:
        name = "%(program_name)s_%(process_num)03d"
        # The kindest settings: started once, and any end is an end.
        more = f"process_name={name}\nnumprocs={max(numbers) + 1}\nautorestart=false\nstartsecs=0"
        self.configure([*command, name], more)
        await self.start_anew()
        return await self.told(numbers)

    async def told(self, numbers: list[int]) -> dict[int, Status]:
        """Return how each process ended, once all have; what stopped itself is continued."""

        def over() -> dict[str, dict[str, Any]]:
            infos = {info["name"]: info for info in self.api.getAllProcessInfo()}
            for info in infos.values():
                if info["pid"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(info["pid"], signal.SIGCONT)
            return infos if all(info["statename"] in OVER for info in infos.values()) else {}

        infos = await wait_for(over, "all ends", within=120)
        return {number: (infos[f"p_{number:03d}"]["exitstatus"], None) for number in numbers}

    @override
    async def kill_supervisord(self) -> None:
        pid = int((self.folder / "supervisord.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        await wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the end of supervisord")

    @override
    async def start_anew(self) -> None:
        supervisord = Path(sys.executable).parent / "supervisord"
        process = await asyncio.create_subprocess_exec(supervisord, "-c", self.folder / "supervisord.conf")
        assert await process.wait() == 0
        await wait_for(self.answers, "an answer of supervisord")

    def answers(self) -> bool:
        """Return whether supervisord listens."""
        with contextlib.suppress(OSError):
            return bool(self.api.getState()["statename"] == "RUNNING")
        return False
