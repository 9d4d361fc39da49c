"""A network that can be told to fail: a TCP relay between a client and a server of the tests."""

from __future__ import annotations

import asyncio
import contextlib

from typing_extensions import Self

from tests.services.ssh import LOOPBACK


class Link:
    """Carries connections to ``port``, until it is told to swallow what it is given.

    :ivar port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self._far_port = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def swallow(self) -> None:
        """Let no byte through in either direction, and tell nobody."""
        self._flows.clear()

    def flow(self) -> None:
        """Let everything through again, what was held back first."""
        self._flows.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._far_port)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for one in (writer, far_writer):
                one.close()
            for one in (writer, far_writer):
                with contextlib.suppress(OSError):
                    await one.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        target.close()
