"""A host to try things on: one root, on this machine or behind SSH, asked through a real agent."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.config import Job, render_spec
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.stream import StreamPipe

OWNER = {"deployment": "tests", "run_id": "1"}
OTHER = {"deployment": "tests", "run_id": "2"}


class Host:
    """Speaks to the agent of one root; every wait has an end and says what it last saw.

    :param root: the root's folder, short enough for a socket's path.
    :param settings: how to reach it; None is this machine.
    """

    def __init__(
        self,
        root: Path,
        *,
        python: str | None = None,
        settings: HostSettings | None = None,
        library: SSHLibrary = SSHLibrary.PARAMIKO,
    ) -> None:
        self.root = root
        self.settings = settings or HostSettings(host="here", root=str(root), **({"python": python} if python else {}))
        self.pipe: StreamPipe = open_pipe(self.settings, library=library)

    async def __aenter__(self) -> Host:
        await self.pipe.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pipe.close()

    async def install(self, owner: Mapping[str, str] = OWNER, *, if_running: str = "adopt", **job: Any) -> Job:
        """Install a job (``name`` and what Job takes), and have a supervisord."""
        model = Job.model_validate({"name": "job", **job})
        await self.pipe.request("install", spec=render_spec(model), owner=dict(owner), if_running=if_running)
        await self.pipe.request("start_supervisord", job=model.name)
        return model

    async def start(
        self, job: str = "job", *, owner: Mapping[str, str] = OWNER, if_running: str = "adopt", verb: str = "start"
    ) -> dict[str, dict[str, Any]]:
        """Return what the start did, by process."""
        result = await self.pipe.request(
            verb, job=job, owner=dict(owner), programs=None, if_running=if_running, by="a test"
        )
        return by_process(result)

    async def stop(self, job: str = "job", *, owner: Mapping[str, str] = OWNER) -> dict[str, dict[str, Any]]:
        """Return what the stop did, by process."""
        return by_process(
            await self.pipe.request("stop", job=job, owner=dict(owner), programs=None, by="a test", reason="stopped")
        )

    async def status(self, job: str = "job") -> dict[str, dict[str, Any]]:
        """Return the status of the job's processes by name."""
        return by_process((await self.pipe.request("status", job=job))["jobs"][0])

    async def wait(
        self, condition: Callable[[dict[str, dict[str, Any]]], Any], job: str = "job", *, within: float = 30
    ) -> dict[str, dict[str, Any]]:
        """Return the status as soon as it is as the condition says."""
        deadline = time.monotonic() + within
        while True:
            status = await self.status(job)
            if condition(status):
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s; last seen: {status}")
            await asyncio.sleep(0.01)

    async def wait_ended(self, job: str = "job", *, within: float = 30) -> dict[str, dict[str, Any]]:
        """Return the status once every process has ended for good, its tree gone."""

        def is_over(status: dict[str, dict[str, Any]]) -> bool:
            records = [one["record"] or {} for one in status.values()]
            return all(record.get("final") and record.get("complete") for record in records)

        return await self.wait(is_over, job, within=within)

    async def output(self, process: str, stream: str = "stdout", job: str = "job", **params: Any) -> bytes:
        """Return all that is left of a stream."""
        found, position = b"", None
        while True:
            where = {"position": position} if position is not None else params
            answer = await self.pipe.request("logs", job=job, process=process, stream=stream, **where)
            found += b"".join(base64.b64decode(chunk["data"]) for chunk in answer["chunks"])
            position = answer["next"]
            if position >= answer["end"]:
                return found

    def supervisord_pid(self) -> int:
        """Return the pid of the root's supervisord."""
        return int((self.root / "supervisord.pid").read_text())


def by_process(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an answer's processes by name."""
    return {one["process"]: one for one in answer["processes"]}


async def wait_for(condition: Callable[[], Any], what: str, *, within: float = 30) -> Any:
    """Return what the condition returns as soon as it is true."""
    deadline = time.monotonic() + within
    while not (seen := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s")
        await asyncio.sleep(0.01)
    return seen
