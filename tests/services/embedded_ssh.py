"""An SSH server of asyncssh's on loopback that executes commands as subprocesses: where there is no OpenSSH."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncssh
from typing_extensions import Self

from tests.services.ssh import SSHAccount

_LIMIT = 15


class Doors:
    """Counts who knocks and has not been let in yet, over as many servers as share it.

    :ivar most: how many there were at once, at the most.
    """

    def __init__(self) -> None:
        self.most = 0
        self._knocking: set[asyncssh.SSHServerConnection] = set()
        self._lock = threading.Lock()

    def knock(self, connection: asyncssh.SSHServerConnection) -> None:
        """Somebody has come."""
        with self._lock:
            self._knocking.add(connection)
            self.most = max(self.most, len(self._knocking))

    def open(self, connection: asyncssh.SSHServerConnection) -> None:
        """They are in, or have left; it may be said twice."""
        with self._lock:
            self._knocking.discard(connection)


class EmbeddedSSH(SSHAccount):
    """A server in a thread of its own, for as long as the ``with`` block lasts.

    :param folder: holds everything of it.
    :param forwarding: whether it forwards to TCP ports and UNIX sockets.
    :param password: a password that is accepted beside the key.
    :param doors: counts who has not been authenticated yet.
    """

    def __init__(
        self, folder: Path, *, forwarding: bool = True, password: str | None = None, doors: Doors | None = None
    ) -> None:
        super().__init__(folder)
        self.doors = doors or Doors()
        self.forwarding = forwarding
        self.password = password
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-ssh", daemon=True)
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._executing: set[asyncio.Task[Any]] = set()
        self._logins = 0

    @property
    def logins(self) -> int:
        """How many connections have been authenticated so far."""
        return self._logins

    def start(self) -> None:
        """Listen; the port stays the same when it was stopped and is started again."""
        if not self._thread.is_alive():
            self._thread.start()
        if not self.host_key:
            self.write_keys()
        self._run(self._listen())
        self.write_known_hosts()

    def stop(self) -> None:
        """End it and every connection."""
        self._run(self._close())

    def drop_connections(self) -> None:
        """Cut every connection at once; the server goes on listening."""
        self._run(self._abort())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT)

    async def _listen(self) -> None:
        self._acceptor = await asyncssh.create_server(
            lambda: _Server(self),
            self.hostname,
            self.port,
            server_host_keys=[str(self.host_key_file)],
            authorized_client_keys=str(self.authorized_keys),
            process_factory=self._begin,
            encoding=None,
            allow_pty=False,
            gss_host=None,
        )
        self.port = self._acceptor.get_port()

    async def _close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        await self._abort()
        await asyncio.gather(*self._executing, return_exceptions=True)

    async def _abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()
            await connection.wait_closed()

    def _begin(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        executing = self._loop.create_task(self._execute(process))
        self._executing.add(executing)
        executing.add_done_callback(self._executing.discard)

    async def _execute(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            process.command or "exit 1",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            env={**self.environment(), "BASH_ENV": str(self.home / ".bashrc")},
            start_new_session=True,
        )
        output = asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
        pumps = {output, asyncio.ensure_future(_pump(process.stdin, child.stdin))}
        hung_up = asyncio.ensure_future(process.wait_closed())
        await asyncio.wait({output, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        for pump in (*pumps, hung_up):
            pump.cancel()
        await asyncio.gather(*pumps, hung_up, return_exceptions=True)
        for fd in (0, 1, 2):  # as when a real sshd hangs up: end of file, and a SIGPIPE if it goes on
            child._transport.get_pipe_transport(fd).close()  # type: ignore[attr-defined]
        status = await child.wait()
        with contextlib.suppress(asyncssh.Error, OSError):
            process.exit(status)


class _Server(asyncssh.SSHServer):
    def __init__(self, embedded: EmbeddedSSH) -> None:
        self._embedded = embedded
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._embedded._connections.add(conn)
        self._embedded.doors.knock(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._embedded._connections.discard(self._connection)
            self._embedded.doors.open(self._connection)

    def auth_completed(self) -> None:
        assert self._connection is not None
        self._embedded._logins += 1
        self._embedded.doors.open(self._connection)

    def password_auth_supported(self) -> bool:
        return self._embedded.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return password == self._embedded.password

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return self._embedded.forwarding

    def unix_connection_requested(self, dest_path: str) -> bool:
        return self._embedded.forwarding


async def _pump(source: Any, target: Any) -> None:
    """Carry bytes until the source ends or the target is gone, then end the target."""
    with contextlib.suppress(asyncssh.Error, OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(asyncssh.Error, OSError):
        if isinstance(target, asyncio.StreamWriter):
            target.close()
