"""A socket here that leads to the supervisord of a host.

The SSH connection forwards it where sshd allows that; elsewhere the agent relays the bytes over its exec channel.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Protocol

from airflow_supervisor_jobs.exceptions import HostError, HostRefused
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.stream import StreamPipe

_PIECE = 65536
#: What a socket's path may take, with the zero that ends it.
_LONGEST_PATH = 107
#: The relay's numbers are ours to choose; they begin where no watch's number ever is.
_FIRST_RELAY = 1 << 32


class Way(str, Enum):
    """How the bytes get there."""

    LOCAL = "local"
    FORWARDED = "forwarded"
    RELAYED = "relayed"


class _Reader(Protocol):
    async def read(self, n: int) -> bytes: ...


class _Writer(Protocol):
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...


class Tunnel:
    """Leads each connection to a host's supervisord; the pipe is opened anew when it broke.

    :ivar way: how the last connection got there; None before the first.
    """

    def __init__(self, settings: HostSettings) -> None:
        self.way: Way | None = None
        self._settings = settings
        self._pipe: StreamPipe | None = None
        self._opening = asyncio.Lock()
        self._numbers = count(_FIRST_RELAY)
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> StreamPipe:
        """Return an open pipe to the host.

        :raises HostError: it cannot be reached.
        """
        async with self._opening:
            if self._pipe is None or self._pipe.broken:
                pipe = open_pipe(self._settings, library=SSHLibrary.ASYNCSSH)
                await pipe.open()
                self._pipe = pipe
            return self._pipe

    async def close(self) -> None:
        """End every connection and the pipe."""
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._pipe is not None:
            await self._pipe.close()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, for as long as either side wants."""
        client = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Who connects sees the connection closed, as by a supervisord that is not there.
            with contextlib.suppress(HostError, OSError):
                far_reader, far_writer = await self._reach()
                sending = asyncio.ensure_future(_pump(reader, far_writer))
                try:
                    await _pump(far_reader, writer)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                    far_writer.close()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _reach(self) -> tuple[_Reader, _Writer]:
        pipe = await self.open()
        if self._settings.ssh is None:
            self.way = Way.LOCAL
            return await asyncio.open_unix_connection(pipe.hello["socket"])
        if self.way is not Way.RELAYED:
            from airflow_supervisor_jobs.hosts.asyncssh_pipe import open_forwarded

            if forwarded := await open_forwarded(pipe, pipe.hello["socket"]):
                self.way = Way.FORWARDED
                return forwarded, forwarded
        self.way = Way.RELAYED
        relay = _Relay(pipe, next(self._numbers))
        await relay.send(b"")
        return relay, relay


@asynccontextmanager
async def serve_tunnel(settings: HostSettings, *, path: Path) -> AsyncIterator[Tunnel]:
    """Let the socket ``path`` lead to the host's supervisord for the length of the block; only its owner may use it.

    :raises HostRefused: no socket can be made there, or the host lets nobody in.
    :raises HostUnreachable: the host cannot be reached now.
    """
    tunnel = Tunnel(settings)
    try:
        await tunnel.open()
        server = await _listen(tunnel.accept, path, host=settings.host)
        try:
            yield tunnel
        finally:
            server.close()
            _remove(path)
    finally:
        await tunnel.close()


async def _listen(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None], path: Path, *, host: str
) -> asyncio.AbstractServer:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise HostRefused(f"a socket's path has at most {_LONGEST_PATH} bytes: choose a shorter one.", host=host)
    # Whoever can use it is supervisord's master. asyncio changes no mode, so the mask must be right at once.
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(accept, str(path))
    except OSError as error:
        raise HostRefused(f"no socket can be made at {path}: {error.strerror or error}.", host=host) from error
    finally:
        os.umask(mask)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _pump(source: _Reader, target: _Writer) -> None:
    with contextlib.suppress(OSError, HostError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
        target.write_eof()
        await target.drain()


class _Relay:
    """One connection through the agent; both a reader and a writer."""

    def __init__(self, pipe: Pipe, number: int) -> None:
        self._pipe = pipe
        self._number = number
        self._events = pipe.events(number)
        self._unsent = b""
        self._eof = False

    async def read(self, n: int) -> bytes:
        """Return what came back; ``n`` is for the reader's form alone, pieces are small."""
        del n
        event = await anext(self._events, None)
        return b"" if event is None else base64.b64decode(event["data"])

    def write(self, data: bytes) -> None:
        self._unsent += data

    async def drain(self) -> None:
        """Send it; one piece at a time, each answered: the host's pace is ours."""
        data, self._unsent = self._unsent, b""
        await self.send(data, eof=self._eof)

    def write_eof(self) -> None:
        self._eof = True

    def close(self) -> None:
        """Nothing: the agent tells of the end, or the pipe ends."""

    async def send(self, data: bytes, *, eof: bool = False) -> None:
        """Hand over ``data``; the first call opens the connection."""
        await self._pipe.request("relay", sub=self._number, data=base64.b64encode(data).decode(), eof=eof)
