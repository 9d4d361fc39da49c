"""A pipe over paramiko, for workers and the command line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import paramiko
from typing_extensions import override

from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.channel import Channel, Tail, agent_command
from airflow_supervisor_jobs.hosts.handshake import SESSION_WAIT, broke_after_login, patiently
from airflow_supervisor_jobs.hosts.paramiko_client import connect_client, explain
from airflow_supervisor_jobs.hosts.stream import StreamPipe

_PIECE = 65536
_LOST = "the SSH connection was lost"
_PIECES_AHEAD = 64
_EXIT_WAIT = 5


class ParamikoPipe(StreamPipe):
    """A :class:`~airflow_supervisor_jobs.hosts.base.Pipe` through an exec channel of paramiko's.

    :param settings: where the agent is started, and how.
    :param connect: what returns a connected client instead of ``settings.ssh``, such as ``SSHHook.get_conn``.
    """

    def __init__(self, settings: HostSettings, *, connect: Callable[[], paramiko.SSHClient] | None = None) -> None:
        super().__init__(settings)
        self._connect_client = connect

    @override
    async def _connect(self) -> Channel:
        return await patiently(self._dial)

    async def _dial(self) -> Channel:
        loop = asyncio.get_running_loop()
        dialling = loop.run_in_executor(None, self._dial_in_thread)
        try:
            session, stack = await asyncio.shield(dialling)
        except asyncio.CancelledError:
            dialling.add_done_callback(_hang_up)
            raise
        return _ParamikoChannel(loop, session, stack)

    def _dial_in_thread(self) -> tuple[paramiko.Channel, ExitStack]:
        with ExitStack() as stack:
            try:
                return self._start(self._client(stack)), stack.pop_all()
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise explain(error, host=self.host) from error

    def _client(self, stack: ExitStack) -> paramiko.SSHClient:
        if self._connect_client is not None:
            client = self._connect_client()
            stack.callback(client.close)
            return client
        assert self.settings.ssh is not None  # noqa: S101 -- or it would be a local pipe
        return connect_client(self.settings.ssh, stack, host=self.host)

    def _start(self, client: paramiko.SSHClient) -> paramiko.Channel:
        transport = client.get_transport()
        assert transport is not None  # noqa: S101 -- connected just now
        alarm = threading.Timer(SESSION_WAIT, transport.close)  # an exec's own wait has no end
        alarm.start()
        try:
            session = transport.open_session(timeout=SESSION_WAIT)
            session.exec_command(agent_command(self.python))
        except (paramiko.SSHException, OSError, EOFError) as error:
            if transport.is_active():
                raise
            raise broke_after_login(str(error) or type(error).__name__, host=self.host) from error
        finally:
            alarm.cancel()
        return session


class _ParamikoChannel(Channel):
    """Two threads read and one writes, so that the event loop never waits for paramiko."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: paramiko.Channel, stack: ExitStack) -> None:
        self._loop = loop
        self._stack = stack
        self._session = session
        self._tail = Tail()
        self._arrived = asyncio.Event()
        self._pieces: deque[bytes | OSError] = deque()
        self._room = threading.Semaphore(_PIECES_AHEAD)
        self._closed = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="paramiko-write")
        self._stderr_reader = threading.Thread(target=self._pump_stderr, name="paramiko-stderr", daemon=True)
        self._stderr_reader.start()
        threading.Thread(target=self._pump_stdout, name="paramiko-stdout", daemon=True).start()

    @override
    async def read(self) -> bytes:
        while not self._pieces:
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces[0]
        if isinstance(piece, OSError):
            raise ConnectionError(str(piece)) from piece
        if piece:
            self._pieces.popleft()
            self._room.release()
        return piece

    @override
    async def write(self, data: bytes) -> None:
        try:
            writing = self._loop.run_in_executor(self._writer, self._session.sendall, data)
        except RuntimeError as error:
            raise ConnectionError("the connection is closed") from error
        try:
            await asyncio.shield(writing)
        except EOFError as error:  # paramiko's word for a socket that broke under its hands
            raise ConnectionError(_LOST) from error

    @override
    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.shutdown(wait=False, cancel_futures=True)
        await asyncio.shield(self._loop.run_in_executor(None, self._close_in_thread))

    @override
    async def exit_status(self) -> int | None:
        await self._loop.run_in_executor(None, self._session.status_event.wait, _EXIT_WAIT)
        await self._loop.run_in_executor(None, self._stderr_reader.join, _EXIT_WAIT)
        return self._session.exit_status if self._session.exit_status >= 0 else None

    @property
    @override
    def stderr(self) -> bytes:
        return bytes(self._tail)

    def _close_in_thread(self) -> None:
        # Not the session first: it would say goodbye, and wait for a host that may have fallen silent.
        self._stack.close()
        self._room.release()

    def _pump_stdout(self) -> None:
        last: bytes | OSError = b""
        try:
            while piece := self._session.recv(_PIECE):
                self._room.acquire()
                self._post(piece)
            transport = self._session.get_transport()
            if not transport.is_active():
                last = ConnectionError(str(transport.get_exception() or "") or _LOST)
        except OSError as error:
            last = error
        except EOFError:
            last = ConnectionError(_LOST)
        self._post(last)

    def _pump_stderr(self) -> None:
        with contextlib.suppress(OSError, EOFError):  # stdout's reader says it
            while piece := self._session.recv_stderr(4096):
                self._tail.feed(piece)

    def _post(self, piece: bytes | OSError) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it every reader
            self._loop.call_soon_threadsafe(self._take, piece)

    def _take(self, piece: bytes | OSError) -> None:
        self._pieces.append(piece)
        self._arrived.set()


def _hang_up(dialling: asyncio.Future[tuple[paramiko.Channel, ExitStack]]) -> None:
    if not dialling.cancelled() and dialling.exception() is None:
        threading.Thread(target=dialling.result()[1].close, daemon=True).start()
