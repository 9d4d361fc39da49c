"""One connection and one agent per host and root, shared by everything that runs on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from typing_extensions import override

from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.stream import StreamPipe, in_background, in_empty_context

#: Seconds that a pipe stays open after its last user: the next one is often near.
LINGER = 10


@lru_cache(maxsize=1)
def pool() -> Pool:
    """Return the process's pool."""
    return Pool()


class Pool:
    """Lends pipes: askers with equal settings get the same one, opened once though many ask at once.

    :param open_pipe: what returns an unopened pipe to a host.
    :param linger: for how many seconds a pipe stays open after its last user.
    """

    def __init__(
        self,
        *,
        open_pipe: Callable[[HostSettings], StreamPipe] = lambda settings: open_pipe(
            settings, library=SSHLibrary.ASYNCSSH
        ),
        linger: float = LINGER,
    ) -> None:
        self._open_pipe = open_pipe
        self._linger = linger
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[HostSettings, _Shared]] = WeakKeyDictionary()

    @asynccontextmanager
    async def pipe(self, settings: HostSettings) -> AsyncIterator[Pipe]:
        """Lend an open pipe for the length of the block; its watches end with the block.

        :raises HostUnreachable: it cannot be opened now; the next asker tries anew.
        :raises HostRefused: it cannot be opened until somebody changes something.
        """
        shared = self._shared(settings)
        shared.users += 1
        try:
            lent = LentPipe(await asyncio.shield(shared.opening))
            try:
                yield lent
            finally:
                await lent.close()
        finally:
            shared.users -= 1
            if not shared.users:
                shared.end_after(self._linger)

    def _shared(self, settings: HostSettings) -> _Shared:
        hosts = self._loops.setdefault(asyncio.get_running_loop(), {})
        shared = hosts.get(settings)
        if shared is None or shared.useless:
            shared = hosts[settings] = _Shared(self._open_pipe(settings))
        return shared


class _Shared:
    """A pipe, how many use it, and the task that opens it, or that closes it in the end."""

    def __init__(self, pipe: StreamPipe) -> None:
        self.users = 0
        self._pipe = pipe
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self.opening = in_empty_context(self._open())
        self.opening.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def useless(self) -> bool:
        """Whether a new asker needs another pipe."""
        if not self.opening.done():
            return False
        return self._closed or self.opening.cancelled() or self.opening.exception() is not None or self._pipe.broken

    def end_after(self, seconds: float) -> None:
        """Close the pipe then, if nobody uses it by that time."""
        if self._closing is not None:
            self._closing.cancel()
        self._closing = in_empty_context(self._close(seconds))

    async def _open(self) -> StreamPipe:
        await self._pipe.open()
        return self._pipe

    async def _close(self, seconds: float) -> None:
        try:
            await asyncio.sleep(0 if self._pipe.broken else seconds)
        finally:
            # Also when the loop ends: it cancels us, and nobody comes any more.
            if not self.users:
                self._closed = True
                self.opening.cancel()
                await self._pipe.close()


class LentPipe(Pipe):
    """A shared pipe as one user sees it: closing it ends this user's watches alone."""

    def __init__(self, shared: StreamPipe) -> None:
        self.host = shared.host
        self._shared = shared
        self._subs: set[int] = set()

    @override
    async def open(self) -> Mapping[str, Any]:
        return self._shared.hello

    @override
    async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
        if verb == "watch":
            return await self._watch(params)
        if verb == "unwatch":
            self._subs.discard(params["sub"])
        return await self._shared.request(verb, **params)

    @override
    def events(self, sub: int) -> AsyncIterator[dict[str, Any]]:
        return self._shared.events(sub)

    @override
    async def close(self) -> None:
        subs, self._subs = self._subs, set()
        for sub in subs:
            self._shared.forget(sub)
        if subs and not self._shared.broken:
            in_background(self._unwatch(subs))  # who leaves is often being cancelled

    async def _watch(self, params: Mapping[str, Any]) -> dict[str, Any]:
        beginning = in_empty_context(self._shared.request("watch", **params))
        try:
            result = await asyncio.shield(beginning)
        except asyncio.CancelledError:
            in_background(self._end(beginning))
            raise
        self._subs.add(result["sub"])
        return result

    async def _end(self, beginning: asyncio.Task[dict[str, Any]]) -> None:
        """End a watch that nobody waits for any more, once it has begun."""
        sub = (await beginning)["sub"]
        self._shared.forget(sub)
        await self._shared.request("unwatch", sub=sub)

    async def _unwatch(self, subs: set[int]) -> None:
        for sub in subs:
            await self._shared.request("unwatch", sub=sub)
