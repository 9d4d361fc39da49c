"""A pipe to a host in memory: our own wire and client, with no process and no network behind them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from typing_extensions import override

from airflow_supervisor_jobs.exceptions import AgentError
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.bootstrap import MARKER
from airflow_supervisor_jobs.hosts.channel import Channel
from airflow_supervisor_jobs.hosts.stream import StreamPipe
from airflow_supervisor_jobs.testing.host import MemoryHost
from airflow_supervisor_jobs.testing.process import STREAMS

_CHUNK = 65536
_LOADER_LINES = 2


class MemoryPipe(StreamPipe):
    """A :class:`~airflow_supervisor_jobs.hosts.base.Pipe` to a :class:`MemoryHost`."""

    def __init__(self, host: MemoryHost) -> None:
        super().__init__(HostSettings(host=host.name))
        self._memory = host

    @override
    async def _connect(self) -> Channel:
        if self._memory.trouble is not None:
            raise self._memory.trouble
        self._memory.opened += 1
        return MemoryChannel(self._memory)


class MemoryChannel(Channel):
    """The host's end of one pipe: reads requests, writes answers and the events of its watches."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._partial = b""
        self._loader_lines = _LOADER_LINES
        self._watches: dict[int, _Watch] = {}
        self._last_sub = 0
        self._is_cut = False
        host.channels.add(self)

    def cut(self) -> None:
        """Break, as a network does."""
        self._is_cut = True
        self._host.channels.discard(self)
        self._out.put_nowait(b"")

    def send(self, message: dict[str, Any]) -> None:
        """Let the client have a line."""
        if self._host.silent:
            return
        self._out.put_nowait(json.dumps(message).encode() + b"\n")

    def tell(self, job: str) -> None:
        """Let the watches of a job see what changed."""
        for watch in self._watches.values():
            if watch.job == job:
                watch.look()

    @override
    async def read(self) -> bytes:
        data = await self._out.get()
        if self._is_cut:
            raise ConnectionResetError("the connection was cut")
        return data

    @override
    async def write(self, data: bytes) -> None:
        if self._is_cut:
            raise ConnectionResetError("the connection was cut")
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if not self._host.silent:
                self._take(line)

    @override
    async def close(self) -> None:
        self._host.channels.discard(self)
        self._out.put_nowait(b"")

    @override
    async def exit_status(self) -> int | None:
        return None

    @property
    @override
    def stderr(self) -> bytes:
        return b""

    def _take(self, line: bytes) -> None:
        if self._loader_lines:
            self._loader_lines -= 1
            if not self._loader_lines:
                self._out.put_nowait(MARKER + b'{"have": true}\n')
            return
        request = json.loads(line)
        try:
            answer = {"result": self._answer(request["verb"], request["params"])}
        except AgentError as error:
            words = {"code": error.code, "message": error.message, "job": error.job, "program": error.program}
            answer = {"error": words}
        self.send({"id": request["id"], **answer})

    def _answer(self, verb: str, params: dict[str, Any]) -> dict[str, Any]:
        if verb == "watch":
            return self._begin_watch(params)
        if verb == "unwatch":
            self._watches.pop(params["sub"], None)
            return {}
        if verb == "credit":
            if params["sub"] in self._watches:
                self._watches[params["sub"]].give(params["bytes"])
            return {}
        return self._host.answer(verb, params)

    def _begin_watch(self, params: dict[str, Any]) -> dict[str, Any]:
        job = self._host.job(params["job"])
        self._last_sub += 1
        watch = _Watch(self, self._host, self._last_sub, params)
        self._watches[self._last_sub] = watch
        asyncio.get_running_loop().call_soon(watch.look)
        begins: dict[str, dict[str, int]] = {name: {} for name in job.processes}
        for (name, stream), position in watch.positions.items():
            begins[name][stream] = position
        return {"sub": self._last_sub, "job": job.status(), "from": begins}


class _Watch:
    def __init__(self, channel: MemoryChannel, host: MemoryHost, sub: int, params: dict[str, Any]) -> None:
        self.job: str = params["job"]
        self._channel = channel
        self._host = host
        self._sub = sub
        self._logs = bool(params.get("logs"))
        self._credit = int(params.get("credit") or 0)
        job = host.job(self.job)
        self._told_owner = job.owner
        self._told = {name: _news(process.status()) for name, process in job.processes.items()}
        start, consumer = params.get("start", "cursor"), params.get("consumer")
        self.positions = {
            (name, stream): process.first_position(stream, start, consumer)
            for name, process in job.processes.items()
            for stream in STREAMS
        }

    def give(self, count: int) -> None:
        self._credit += count
        self._feed()

    def look(self) -> None:
        job = self._host.jobs.get(self.job)
        if job is None:
            self._send("gone")
            return
        if job.owner != self._told_owner:
            self._told_owner = job.owner
            self._send("owner", owner=job.owner)
        for name, process in job.processes.items():
            status = process.status()
            if self._told.get(name) != _news(status):
                self._told[name] = _news(status)
                self._send("state", process=status)
        self._feed()

    def _feed(self) -> None:
        job = self._host.jobs.get(self.job)
        for (name, stream), position in self.positions.items():
            if not self._logs or job is None or name not in job.processes:
                continue
            while self._credit > 0:
                chunks = job.processes[name].logs[stream].read(position, min(self._credit, _CHUNK))
                if not chunks:
                    break
                for chunk in chunks:
                    size = len(chunk["data"]) // 4 * 3 - chunk["data"][-2:].count("=")
                    position = chunk["position"] + size
                    self._credit -= size
                    self._send("log", process=name, **chunk)
                self.positions[(name, stream)] = position

    def _send(self, event: str, **fields: Any) -> None:
        self._channel.send({"event": event, "sub": self._sub, **fields})


def _news(status: dict[str, Any]) -> dict[str, Any]:
    """Return what of a status is worth an event: where the log ends is not."""
    return {name: value for name, value in status.items() if name != "positions"}
