"""airflow-supervisor, by the commands that its tasks run on the host; from an environment of its own, ``.peers``."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

from typing_extensions import override

from tests.faults.peers.supervisord import Supervisord
from tests.faults.peers.system import NotRun, Status
from tests.services.ssh import LOOPBACK, free_port

COMMAND = Path(__file__).parents[3] / ".peers/bin/_supervisor_convenience"
#: It has no program be started in less than a second, and calls what ends before that a failed start.
LONG_ENOUGH = 6


class AirflowSupervisor(Supervisord):
    """One of its supervisords with one program, at its own settings but for the port, which is on the loopback."""

    name = "airflow-supervisor"

    def __init__(self, folder: Path, *, number: int) -> None:
        super().__init__(folder / "w", number=number)
        if not COMMAND.exists():
            raise NotRun("it is not installed in .peers")
        self.port = free_port()

    @property
    @override
    def api(self) -> Any:
        return ServerProxy(f"http://{LOOPBACK}:{self.port}").supervisor

    @override
    async def start(self, command: list[str]) -> None:
        await self.set_up({"command": shlex.join(command)})

    async def set_up(self, program: dict[str, Any]) -> None:
        """Do the first three steps of its DAG."""
        config = {
            "port": f"{LOOPBACK}:{self.port}",
            "working_dir": str(self.folder),
            "config_path": str(self.folder / "supervisor.cfg"),
            "program": {"p": program},
        }
        await self.run("configure-supervisor", json.dumps(config))
        await self.start_anew()

    async def run(self, step: str, *words: str) -> int:
        """Run one of its commands and return its exit code."""
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        silent = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        process = await asyncio.create_subprocess_exec(COMMAND, step, *words, env=environment, **silent)
        return await asyncio.wait_for(process.wait(), 120)

    async def step(self, step: str) -> int:
        """Run one of its commands on what was configured."""
        return await self.run(step, "--cfg", str(self.folder / "pydantic.json"))

    @override
    async def start_again(self) -> None:
        await self.step("start-programs")

    @override
    async def start_anew(self) -> None:
        await self.step("start-supervisor")
        await self.step("start-programs")

    @override
    async def stop(self) -> None:
        await self.step("stop-programs")

    @override
    async def ends(self, command: list[str], numbers: list[int]) -> dict[int, Status]:
        name = "%(program_name)s_%(process_num)03d"
        words = [*command, "--after", str(LONG_ENOUGH), name]
        command_line = shlex.join(words).replace("'", "")
        await self.set_up({"command": command_line, "numprocs": max(numbers) + 1, "process_name": name})
        return await self.told(numbers)

    @override
    async def mark_failed(self) -> None:
        raise NotRun("its DAG takes a scheduler")
