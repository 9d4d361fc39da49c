"""What the benchmarks play on: jobs behind a real SSH server, and whatever watches them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.ssh.triggers.ssh_remote_job import SSHRemoteJobTrigger
from airflow.providers.ssh.utils.remote_job import RemoteJobPaths, build_posix_wrapper_command
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_supervisor_jobs.config import Job, make_job, render_spec
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.stream import StreamPipe
from airflow_supervisor_jobs.operators.configure import reachable_part
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from tests.services.processes import processes_of
from tests.services.sshd import OpenSSH

OWNER = {"deployment": "bench", "dag_id": "bench", "run_id": "1", "task_id": "", "map_index": "-1"}
#: How many requests are under way at once while a host is filled.
_AT_ONCE = 25
_KILL_LIMIT_S = 60.0
_CANCELLATIONS = 5


@contextmanager
def folder() -> Iterator[Path]:
    """Lend an empty folder with a short path; what was started in it has been killed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="sjb", dir="/tmp"))
    try:
        yield path
    finally:
        # A thousand programs that are stopped one by one would take longer than what is measured of them.
        deadline = time.monotonic() + _KILL_LIMIT_S
        while (left := processes_of(path)) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(path, ignore_errors=True)


class Ours:
    """Jobs of this project on one host, each with one program.

    :param place: the folder of the root.
    :param server: the SSH server that leads there.
    :param port: another way to that server.
    """

    name = "airflow-supervisor-jobs"

    def __init__(self, place: Path, server: OpenSSH, *, port: int | None = None) -> None:
        self.root = place / "r"
        self.host = {"name": "bench", "root": str(self.root), **server.host(port=port or server.port)}
        if port:
            self.host |= {"host_key": server.host_key}
        self.pins: list[dict[str, Any]] = []

    def job(self, name: str, command: Any, **more: Any) -> Job:
        """Return a job of one program."""
        return make_job({"host": self.host, "command": command, **more}, name=name)

    @asynccontextmanager
    async def pipe(self) -> AsyncIterator[StreamPipe]:
        """Lend a pipe to the host's agent, from this machine: filling a host is not what is measured."""
        local = {"name": "here", "root": str(self.root)}
        async with open_pipe(resolve(make_job({"host": local, "command": "true"}, name="none").host)) as pipe:
            yield pipe

    async def start(self, commands: Sequence[Any], *, first: int = 0) -> None:
        """Have a job for each command."""
        jobs = [self.job(f"job{number}", command) for number, command in enumerate(commands, first)]
        async with self.pipe() as pipe:
            specs = await install_and_start(pipe, jobs)
        self.pins += [pin_of(job, spec).to_dict() for job, spec in zip(jobs, specs, strict=True)]

    def triggers(self) -> list[BaseTrigger]:
        """Return what watches each of the jobs, as a triggerer has it."""
        task = {"dag_id": "bench", "run_id": "1", "task_id": "watch_programs", "map_index": -1}
        return [SupervisorProgramsTrigger(pin=pin, task=task) for pin in self.pins]

    def supervisord(self) -> int:
        """Return supervisord's pid."""
        return int((self.root / "supervisord.pid").read_text())


async def install_and_start(pipe: StreamPipe, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return the specs of all these jobs, once their programs run.

    All are installed before supervisord lives, which would read all of them again after each.
    """
    specs = [render_spec(job) for job in jobs]
    start = {"owner": OWNER, "programs": None, "if_running": "fail", "by": "bench"}
    install = {"owner": OWNER, "if_running": "fail"}
    await in_turn([partial(pipe.request, "install", spec=spec, **install) for spec in specs], at_once=_AT_ONCE)
    if jobs:
        await pipe.request("start_supervisord", job=jobs[0].name)
    await in_turn([partial(pipe.request, "start", job=job.name, **start) for job in jobs], at_once=_AT_ONCE)
    return specs


async def in_turn(works: Sequence[Callable[[], Awaitable[Any]]], *, at_once: int) -> None:
    """All is done, not too much of it at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(work: Callable[[], Awaitable[Any]]) -> None:
        async with gate:
            await work()

    await asyncio.gather(*map(one, works))


def pin_of(job: Job, spec: dict[str, Any]) -> Pin:
    """Return what a run of the job's DAG would have resolved."""
    return Pin(
        job=job.name,
        hash=spec["hash"],
        host=reachable_part(job),
        owner=OWNER,
        processes=tuple(process["process"] for process in spec["processes"]),
        policy=WatchPolicy.for_job(job).to_dict(),
        if_running="fail",
        maxretrigger=0,
        stop_on_exit=True,
        cleanup=False,
        reference_date="2026-01-05T22:00:00+00:00",
    )


class RemoteJobs:
    """Jobs of SSHRemoteJobOperator on one host; its own wrapper starts them, and its own trigger watches.

    :param poll_s: its ``poll_interval``; 5 is its default.
    """

    def __init__(self, place: Path, server: OpenSSH, *, poll_s: int = 5, port: int | None = None) -> None:
        self.name = f"SSHRemoteJobOperator, poll {poll_s} s"
        self.place, self.poll_s = place / "jobs", poll_s
        self.connection = f"bench_{random.getrandbits(32):08x}"
        address = server.port
        server.port = port or address
        os.environ[f"AIRFLOW_CONN_{self.connection.upper()}"] = server.connection()
        server.port = address
        self.jobs: list[RemoteJobPaths] = []

    async def start(self, commands: Sequence[str], *, first: int = 0) -> None:
        """Have a job for each command; the wrapper is executed here, for a submission is not what is measured."""
        for number, command in enumerate(commands, first):
            paths = RemoteJobPaths(job_id=f"job{number}", remote_os="posix", base_dir=str(self.place))
            wrapper = build_posix_wrapper_command(command, paths)
            await asyncio.to_thread(subprocess.run, ["/bin/bash", "-c", wrapper], check=True, capture_output=True)
            self.jobs.append(paths)

    def triggers(self) -> list[BaseTrigger]:
        """Return what watches each of the jobs."""
        return [
            SSHRemoteJobTrigger(
                ssh_conn_id=self.connection,
                remote_host=None,
                job_id=job.job_id,
                job_dir=job.job_dir,
                log_file=job.log_file,
                exit_code_file=job.exit_code_file,
                remote_os="posix",
                poll_interval=self.poll_s,
            )
            for job in self.jobs
        ]


async def fired(trigger: BaseTrigger) -> TriggerEvent:
    """Return the trigger's event."""
    async for event in trigger.run():
        return event
    raise RuntimeError("the trigger ended without an event")


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """The tasks have ended, or were told several times: not every trigger ends when it is cancelled."""
    left = set(tasks)
    for _ in range(_CANCELLATIONS):
        for task in left:
            task.cancel()
        if not left:
            break
        _, left = await asyncio.wait(left, timeout=1)


async def until(condition: Any, what: str, *, within: float = 60) -> Any:
    """Return what the condition returns, as soon as it is true.

    :raises TimeoutError: it was not true in time.
    """
    deadline = asyncio.get_running_loop().time() + within
    while not (seen := condition()):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{what}: not within {within} s")
        await asyncio.sleep(0.005)
    return seen
