"""A pipe to an agent on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.channel import Channel, Tail, agent_argv
from airflow_supervisor_jobs.hosts.stream import StreamPipe

#: What an agent here inherits; a worker's tokens, connections and AIRFLOW__* are not among it.
INHERITED = ("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG", "TZ", "TMPDIR")
_EXIT_WAIT = 5


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``environ`` that programs on this machine may see."""
    return {name: value for name, value in environ.items() if name in INHERITED or name.startswith("LC_")}


class LocalPipe(StreamPipe):
    """A :class:`~airflow_supervisor_jobs.hosts.base.Pipe` to an agent that is a process of this machine."""

    @property
    @override
    def python(self) -> str:
        return self.settings.python or sys.executable

    @override
    async def _connect(self) -> Channel:
        home = Path.home()
        try:
            # A session of its own: what ends a worker's process group does not reach supervisord.
            process = await asyncio.create_subprocess_exec(
                *agent_argv(self.python),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=home if home.is_dir() else "/",
                env=clean_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise HostRefused(
                f"{self.python} cannot be run: {error.strerror}. Set the host's `python` to a Python 3.6 or newer.",
                host=self.host,
            ) from error
        return _ProcessChannel(process)


class _ProcessChannel(Channel):
    def __init__(self, process: Process) -> None:
        self._process = process
        self._tail = Tail()
        self._stderr_reader = asyncio.create_task(self._keep_stderr())

    @override
    async def read(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 -- asked for
        return await self._process.stdout.read(65536)

    @override
    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 -- asked for
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    @override
    async def close(self) -> None:
        # The end of its input ends an agent, also one behind a `python` that is a script; what it started goes on.
        assert self._process.stdin is not None  # noqa: S101 -- asked for
        self._process.stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._process.wait()), _EXIT_WAIT)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._stderr_reader.cancel()
        await asyncio.gather(self._stderr_reader, return_exceptions=True)
        # asyncio itself leaves the pipes open while a grandchild holds them
        self._process._transport.close()  # type: ignore[attr-defined]

    @override
    async def exit_status(self) -> int | None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._stderr_reader), _EXIT_WAIT)
            return await asyncio.wait_for(self._process.wait(), _EXIT_WAIT)
        return None

    @property
    @override
    def stderr(self) -> bytes:
        return bytes(self._tail)

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 -- asked for
        while data := await self._process.stderr.read(4096):
            self._tail.feed(data)
