"""The one door to asyncssh: a pipe for the triggerer, where one loop serves every host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncssh
from typing_extensions import override

from airflow_supervisor_jobs.exceptions import HostError, HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.address import SSHSettings
from airflow_supervisor_jobs.hosts.channel import Channel, Tail, agent_command
from airflow_supervisor_jobs.hosts.handshake import (
    DROPPED_PATIENCE,
    SESSION_WAIT,
    TurnedAway,
    broke_after_login,
    patiently,
    turn,
)
from airflow_supervisor_jobs.hosts.hostkeys import trusted_host_keys
from airflow_supervisor_jobs.hosts.identity import check_identity
from airflow_supervisor_jobs.hosts.proxy import Proxy
from airflow_supervisor_jobs.hosts.refusals import login_refused, nobody_listens, other_host_key, unknown_name
from airflow_supervisor_jobs.hosts.stream import StreamPipe

_EXIT_WAIT = 5
#: What paramiko calls the kinds of algorithms, and what asyncssh does.
_KINDS = {
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "kex": "kex_algs",
    "pubkeys": "signature_algs",
}


class AsyncSSHPipe(StreamPipe):
    """A :class:`~airflow_supervisor_jobs.hosts.base.Pipe` through an exec channel of asyncssh's."""

    #: The connection, while open; the tunnel forwards through it.
    connection: asyncssh.SSHClientConnection | None = None

    @override
    async def _connect(self) -> Channel:
        return await patiently(self._dial)

    async def _dial(self) -> Channel:
        assert self.settings.ssh is not None  # noqa: S101 -- or it would be a local pipe
        async with AsyncExitStack() as stack:
            self.connection = await _connect(self.settings.ssh, stack, host=self.host)
            executing = self.connection.create_process(agent_command(self.python), encoding=None, request_pty=False)
            try:
                process = await asyncio.wait_for(executing, SESSION_WAIT)
            except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
                if self.connection.is_closed():
                    raise broke_after_login(str(error), host=self.host) from error
                raise explain(error, host=self.host) from error
            return _AsyncSSHChannel(process, stack.pop_all())


def explain(error: Exception, *, host: str, ssh: SSHSettings | None = None, said: str = "") -> HostError:
    """Return what an error of asyncssh's means to us; ``said`` is what a proxy command said."""
    words = "; ".join(part for part in (str(error) or type(error).__name__, said) if part)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostRefused(f"its host key is not trusted ({words}). Correct `host_key` or known_hosts.", host=host)
    if isinstance(error, asyncssh.PermissionDenied):
        return login_refused(ssh, words, host=host)
    if isinstance(error, socket.gaierror):
        return unknown_name(ssh, host=host)
    if isinstance(error, (asyncssh.KeyImportError, asyncssh.KeyExchangeFailed, asyncssh.ProtocolNotSupported)):
        return HostRefused(f"{words}. Check the key, its passphrase and the algorithms.", host=host)
    if isinstance(error, asyncssh.ChannelOpenError):
        return HostRefused(f"it lets us in and executes no command ({words}). Allow exec for this account.", host=host)
    if f"[Errno {errno.ECONNREFUSED}]" in words:  # a name of several addresses gives one OSError of all their words
        return nobody_listens(ssh, host=host)
    if isinstance(error, (asyncssh.ConnectionLost, ConnectionResetError)) and "timeout" not in words:
        return TurnedAway(f"it dropped the connection ({words}).", host=host, patience=DROPPED_PATIENCE)
    if isinstance(error, ValueError):
        return HostRefused(f"its settings are not asyncssh's ({words}).", host=host)
    return HostUnreachable(f"it cannot be reached ({words}).", host=host)


async def _connect(ssh: SSHSettings, stack: AsyncExitStack, *, host: str) -> asyncssh.SSHClientConnection:
    """Return a connection; closing ``stack`` closes it, its proxy, and the connections to the jump hosts.

    :raises HostError: as :func:`explain` says.
    """
    check_identity(ssh, host=host)
    proxy = Proxy(ssh.proxy_command, host=host) if ssh.proxy_command else None
    if proxy is not None:
        stack.callback(proxy.close)
    tunnel = await _connect(ssh.jump, stack, host=host) if ssh.jump else None
    trusted = await asyncio.to_thread(trusted_host_keys, ssh, host=host)
    guard = _Guard()
    try:
        options = asyncssh.SSHClientConnectionOptions(client_factory=lambda: guard, **_options(ssh, trusted))
        if not (ssh.key_file or ssh.private_key or ssh.look_for_keys):
            options.client_keys = []  # asyncssh cannot be told to ask the user's agent alone
        async with turn((ssh.hostname, ssh.port)):
            connection = await asyncssh.connect(
                ssh.hostname, ssh.port, tunnel=tunnel, sock=proxy.sock if proxy else None, config=None, options=options
            )
    except asyncssh.HostKeyNotVerifiable as error:
        if guard.shown is None or trusted is None:
            raise explain(error, host=host, ssh=ssh) from error
        raise other_host_key(guard.shown, trusted, host=host) from error
    except (asyncssh.Error, OSError, asyncio.TimeoutError, ValueError) as error:
        raise explain(error, host=host, ssh=ssh, said=proxy.said if proxy else "") from error
    stack.push_async_callback(_hang_up, connection)
    return connection


async def _hang_up(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    await connection.wait_closed()


class _Guard(asyncssh.SSHClient):
    """Trusts no key beside the trusted ones, and remembers what the host has shown instead, as ``type base64``."""

    shown: str | None = None

    @override
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key.export_public_key().decode()
        return False


def _options(ssh: SSHSettings, trusted: tuple[str, ...] | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "config": None,
        "username": ssh.username,
        "password": ssh.password,
        "client_keys": _client_keys(ssh),
        "passphrase": ssh.passphrase,
        "agent_path": () if ssh.use_agent else None,
        "known_hosts": None if trusted is None else ([asyncssh.import_public_key(key) for key in trusted], [], []),
        "x509_trusted_certs": None,
        "host_based_auth": False,
        "gss_host": None,
        "connect_timeout": ssh.conn_timeout + ssh.banner_timeout + ssh.auth_timeout,
        "login_timeout": ssh.banner_timeout + ssh.auth_timeout,
        "keepalive_interval": ssh.keepalive,
        "compression_algs": ["zlib@openssh.com", "none"] if ssh.compress else ["none"],
    }
    for kind, names in ssh.disabled_algorithms:
        if kind in _KINDS:
            options[_KINDS[kind]] = "-" + ",".join(names)
    if ssh.ciphers:
        options["encryption_algs"] = list(ssh.ciphers)
    return options


def _client_keys(ssh: SSHSettings) -> Any:
    if ssh.private_key is not None:
        return [asyncssh.import_private_key(ssh.private_key, ssh.passphrase)]
    if ssh.key_file is not None:
        return [ssh.key_file]
    return () if ssh.look_for_keys or ssh.use_agent else None


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except asyncssh.Error as error:
        raise ConnectionError(str(error)) from error


class _AsyncSSHChannel(Channel):
    def __init__(self, process: asyncssh.SSHClientProcess[bytes], stack: AsyncExitStack) -> None:
        self._process = process
        self._stack = stack
        self._tail = Tail()
        self._stderr_reader = asyncio.create_task(self._keep_stderr())

    @override
    async def read(self) -> bytes:
        with _as_os_error():
            return await self._process.stdout.read(65536)

    @override
    async def write(self, data: bytes) -> None:
        with _as_os_error():
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    @override
    async def close(self) -> None:
        self._stderr_reader.cancel()
        await asyncio.gather(self._stderr_reader, return_exceptions=True)
        await self._stack.aclose()

    @override
    async def exit_status(self) -> int | None:
        with contextlib.suppress(asyncio.TimeoutError, asyncssh.Error):
            await asyncio.wait_for(self._process.wait_closed(), _EXIT_WAIT)
        await asyncio.wait({self._stderr_reader}, timeout=_EXIT_WAIT)
        return self._process.exit_status

    @property
    @override
    def stderr(self) -> bytes:
        return bytes(self._tail)

    async def _keep_stderr(self) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            while data := await self._process.stderr.read(4096):
                self._tail.feed(data)


class Forwarded:
    """A connection to a UNIX socket of the host, forwarded by its sshd."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes; empty at the end."""
        with _as_os_error():
            return await self._reader.read(n)

    def write(self, data: bytes) -> None:
        """Send ``data`` before long."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait while the host is slow."""
        with _as_os_error():
            await self._writer.drain()

    def write_eof(self) -> None:
        """Say that no more is sent."""
        self._writer.write_eof()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def open_forwarded(pipe: StreamPipe, path: str) -> Forwarded | None:
    """Return a connection to a UNIX socket of the host, None where its sshd does not forward."""
    connection = pipe.connection if isinstance(pipe, AsyncSSHPipe) else None
    if connection is None:
        return None
    try:
        return Forwarded(*await connection.open_unix_connection(path))
    except asyncssh.ChannelOpenError:
        return None
    except asyncssh.Error as error:
        raise explain(error, host=pipe.host) from error
