"""SSHRemoteJobOperator, as a worker and a triggerer run it, over a real SSH server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk.exceptions import TaskDeferred
from typing_extensions import Self, override

from tests.faults.peers.system import NotRun, Status, System
from tests.services.host import wait_for
from tests.services.processes import end_processes_of, processes_of
from tests.services.sshd import OpenSSH

AT_A_TIME = 8


class RemoteJob(System):
    """One task of that operator, at its own settings but for the folder and a shorter ``poll_interval``."""

    name = "SSHRemoteJobOperator"

    def __init__(self, folder: Path, *, number: int) -> None:
        super().__init__(folder, number=number)
        self.server = OpenSSH(folder / "s")
        self.connection = f"peer_{number}"
        self.command = ""
        self.tries = 0
        self.operator: SSHRemoteJobOperator | None = None
        self.trigger: Any = None

    @override
    async def __aenter__(self) -> Self:
        self.server.start()
        os.environ[f"AIRFLOW_CONN_{self.connection.upper()}"] = self.server.connection()
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        self.server.stop()
        end_processes_of(self.folder)

    @override
    async def start(self, command: list[str]) -> None:
        self.command = shlex.join(command)
        await self.start_again()

    @override
    async def start_again(self) -> None:
        self.operator, self.trigger = await self.submit(self.command)

    async def submit(self, command: str, task_id: str = "task") -> tuple[SSHRemoteJobOperator, Any]:
        """Return the operator and the trigger that it deferred to."""
        self.tries += 1
        operator = SSHRemoteJobOperator(
            task_id=task_id,
            ssh_conn_id=self.connection,
            command=command,
            remote_base_dir=str(self.folder / "jobs"),
            poll_interval=1,
            do_xcom_push=False,
        )
        task = SimpleNamespace(dag_id="dag", task_id=task_id, run_id="run", try_number=self.tries)
        try:
            await asyncio.to_thread(operator.execute, {"ti": task})
        except TaskDeferred as deferred:
            return operator, deferred.trigger
        raise AssertionError("it did not defer")

    @override
    async def stop(self) -> None:
        assert self.operator is not None
        await asyncio.to_thread(self.operator.on_kill)

    @override
    async def end(self, *, within: float) -> Status | None:
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(told(self.trigger), within)
        return None

    @override
    async def ends(self, command: list[str], numbers: list[int]) -> dict[int, Status]:
        gate = asyncio.Semaphore(AT_A_TIME)

        async def one(number: int) -> Status:
            async with gate:
                _, trigger = await self.submit(shlex.join([*command, str(number)]), f"task{number}")
                waking = asyncio.create_task(self.wake(number))
                try:
                    return await told(trigger)
                finally:
                    waking.cancel()

        return dict(zip(numbers, await asyncio.gather(*map(one, numbers)), strict=True))

    async def wake(self, number: int) -> None:
        """Continue a program that stopped itself, until cancelled."""
        words = f"ends.py {number}"
        while True:
            pids = [pid for pid, line in processes_of(self.folder).items() if line.endswith(words)]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            with contextlib.suppress(AssertionError):
                await wait_for(lambda: False, "a moment", within=1)

    @override
    async def mark_failed(self) -> None:
        watching = asyncio.create_task(told(self.trigger))
        await asyncio.wait([watching], timeout=2)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        for step in ("on_kill", "cleanup"):
            if hasattr(self.trigger, step):
                await getattr(self.trigger, step)()


async def told(trigger: Any) -> Status:
    """Return the exit code of the trigger's event; the operator knows no signals."""
    async for event in trigger.run():
        if event.payload["exit_code"] is None:
            raise NotRun(event.payload["message"])
        return event.payload["exit_code"], None
    raise AssertionError("the trigger ended without an event")
