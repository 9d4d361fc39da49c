"""The distance to a host: every byte takes its time, however many others are under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from typing_extensions import Self

from tests.services.ssh import LOOPBACK

_PIECE = 65536
_PATIENCE_S = 30
_T = TypeVar("_T")


class Distance:
    """Relays to ports of this machine, for the length of the ``with`` block.

    The relays have a thread of their own. Only the handshake of TCP itself takes no time.

    :param seconds: how long a byte takes, each way; with 0 there are no relays.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()

    def to(self, port: int) -> int:
        """Return a port that leads to ``port`` over this distance."""
        return self._do(self._listen(port)) if self.seconds else port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    async def _listen(self, port: int) -> int:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carrying = self._loop.create_task(self._carry(port, reader, writer))
            self._carrying.add(carrying)
            carrying.add_done_callback(self._carrying.discard)

        server = await asyncio.start_server(accept, LOOPBACK, 0, backlog=1024)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _hang_up(self) -> None:
        for server in self._servers:
            server.close()
        for carrying in self._carrying:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
                writers.append(far_writer)
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for one in writers:
                one.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = self._loop.create_task(self._arrive(under_way, target))
        try:
            while True:
                data = await source.read(_PIECE)
                under_way.put_nowait((self._loop.time() + self.seconds, data))
                if not data:
                    break
            await arriving
        finally:
            arriving.cancel()

    async def _arrive(self, under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                target.write_eof()
                return
            target.write(data)
            await target.drain()
