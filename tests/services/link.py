"""A network that can be told to fail: a TCP relay between a client and a server of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from typing_extensions import Self

from tests.services.ssh import LOOPBACK

#: Closing a socket with it sends a reset, and forgets what was not sent yet.
_RESET = struct.pack("ii", 1, 0)


class Way:
    """One of the two directions of a :class:`Link`.

    :ivar carried: how many bytes have gone this way, over all connections.
    """

    def __init__(self) -> None:
        self.carried = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._limit: int | None = None
        self._then: Callable[[], object] | None = None

    def swallow(self) -> None:
        """Let no byte through, and tell nobody."""
        self._flows.clear()

    def flow(self) -> None:
        """Let everything through again, what was held back first."""
        self._flows.set()

    def after(self, size: int, then: Callable[[], object]) -> None:
        """Call ``then`` once, as soon as ``size`` more bytes have gone this way and none beyond them."""
        self._limit, self._then = self.carried + size, then
        self._check()

    async def carry(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Send all of ``data``, as far as nothing that was agreed on with :meth:`after` ends it."""
        while data:
            await self._flows.wait()
            room = len(data) if self._limit is None else self._limit - self.carried
            writer.write(data[:room])
            await writer.drain()
            self.carried += len(data[:room])
            data = data[room:]
            self._check()

    def _check(self) -> None:
        if self._limit is not None and self.carried >= self._limit and self._then is not None:
            then, self._limit, self._then = self._then, None, None
            then()


class Link:
    """Carries connections to ``port`` of the loopback, until it is told to fail.

    Every fault is a plain method that takes effect at once; :meth:`flow` and :meth:`accept` mend it.

    :ivar port: where it listens, also while it refuses.
    :ivar accepted: how many connections it has accepted so far.
    :ivar to_server: the direction of requests, ``to_client`` the one of replies.
    :ivar piece: how many bytes it carries at a time; 1 is a very bad network.
    :ivar delay_s: how many seconds each piece takes.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.accepted = 0
        self.to_server, self.to_client = Way(), Way()
        self.piece = 65536
        self.delay_s = 0.0
        self._far_port = port
        self._listening: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def swallow(self) -> None:
        """Be a blackhole: let no byte through in either direction, and tell nobody."""
        self.to_server.swallow()
        self.to_client.swallow()

    def swallow_replies(self) -> None:
        """Let requests through, and nothing of what comes back."""
        self.to_client.swallow()

    def flow(self) -> None:
        """Let everything through again, what was held back first."""
        self.to_server.flow()
        self.to_client.flow()

    def cut(self) -> None:
        """End every connection as if both sides had hung up."""
        for writer in self._writers:
            writer.close()

    def reset(self) -> None:
        """End every connection as a firewall does that has forgotten it."""
        for writer in self._writers:
            _reset(writer)

    def refuse(self) -> None:
        """Have nobody listen, and reset what is connected."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._reserved = _bound(self.port)  # or somebody else gets the port
        self.reset()

    async def accept(self) -> None:
        """Listen again."""
        if self._listening is None:
            if self._reserved is not None:
                self._reserved.close()
            self._reserved = None
            self._listening = await asyncio.start_server(self._accept, sock=_bound(self.port))
            self.port = self._listening.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        if self._reserved is not None:
            self._reserved.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        carrying = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._far_port)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, self.to_server), self._pump(far_reader, writer, self.to_client)
            )
        finally:
            self._writers -= both
            for one in both:
                one.close()
            for one in both:
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(self.piece):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await way.carry(data, target)
        target.close()


def _bound(port: int) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, port))
    return reserved


def _reset(writer: asyncio.StreamWriter) -> None:
    own = writer.get_extra_info("socket")
    if own is not None and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
