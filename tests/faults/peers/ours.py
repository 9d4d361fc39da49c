"""This project, asked through its agent."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from typing_extensions import Self, override

from tests.faults.peers.system import NotRun, Status, System
from tests.services.host import Host
from tests.services.processes import end_processes_of

STOPPING = (19, 20, 21, 22)


class Ours(System):
    """A job in a root of its own."""

    name = "airflow-supervisor-jobs"

    def __init__(self, folder: Path, *, number: int) -> None:
        super().__init__(folder, number=number)
        self.host = Host(folder / "r")
        self.programs: dict[str, Any] = {}

    @override
    async def __aenter__(self) -> Self:
        await self.host.__aenter__()
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await self.host.__aexit__()
        end_processes_of(self.folder)

    @override
    async def start(self, command: list[str]) -> None:
        self.programs = {"p": {"command": command, "stopwaitsecs": 2}}
        await self.start_again()

    @override
    async def start_again(self) -> None:
        await self.host.__aexit__()
        self.host = Host(self.folder / "r")
        await self.host.__aenter__()
        await self.host.install(programs=self.programs)
        await self.host.start()

    @override
    async def stop(self) -> None:
        await self.host.stop()

    @override
    async def end(self, *, within: float) -> Status | None:
        with contextlib.suppress(AssertionError):
            ended = (await self.host.wait_ended(within=within))["p"]
            return ended["exit_code"], ended["signal"]
        return None

    @override
    async def ends(self, command: list[str], numbers: list[int]) -> dict[int, Status]:
        name = "%(program_name)s_%(process_num)03d"
        program = {"command": [*command, name], "numprocs": max(numbers) + 1, "process_name": name}
        await self.host.install(programs={"p": program})
        await self.host.start()

        def over(status: dict[str, dict[str, Any]]) -> bool:
            for number in STOPPING:
                with contextlib.suppress(ProcessLookupError, TypeError):
                    os.kill(status[f"p_{256 + number:03d}"]["pid"], signal.SIGCONT)
            return all((one["record"] or {}).get("complete") for one in status.values())

        status = await self.host.wait(over, within=120)
        told = {number: status[f"p_{number:03d}"] for number in numbers}
        return {number: (one["exit_code"], one["signal"]) for number, one in told.items()}

    @override
    async def kill_supervisord(self) -> None:
        os.kill(self.host.supervisord_pid(), signal.SIGKILL)

    @override
    async def start_anew(self) -> None:
        await self.start_again()

    @override
    async def mark_failed(self) -> None:
        raise NotRun("its trigger asks a real Airflow, which this script has not")
