"""The one door to paramiko: a pipe for workers and the command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko
from typing_extensions import override

from airflow_supervisor_jobs.exceptions import HostError, HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.address import SSH_PORT, HostSettings, SSHSettings
from airflow_supervisor_jobs.hosts.channel import Channel, Tail, agent_command
from airflow_supervisor_jobs.hosts.handshake import DROPPED_PATIENCE, REFUSED_PATIENCE, TurnedAway, patiently
from airflow_supervisor_jobs.hosts.hostkeys import key_types, trusted_host_keys
from airflow_supervisor_jobs.hosts.identity import check_identity
from airflow_supervisor_jobs.hosts.stream import StreamPipe

#: paramiko writes tracebacks of what we retry or explain; who wants them sets this logger's level.
_LOG = "airflow_supervisor_jobs.paramiko"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)
_PIECE = 65536
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
            clients, session = await asyncio.shield(dialling)
        except asyncio.CancelledError:
            dialling.add_done_callback(_hang_up)
            raise
        return _ParamikoChannel(loop, clients, session)

    def _dial_in_thread(self) -> tuple[list[paramiko.SSHClient], paramiko.Channel]:
        clients: list[paramiko.SSHClient] = []
        try:
            if self._connect_client is not None:
                clients.append(self._connect_client())
            elif self.settings.ssh is not None:
                _connect_all(self.settings.ssh, clients, host=self.host)
            transport = clients[-1].get_transport()
            assert transport is not None  # noqa: S101 -- connected just now
            session = transport.open_session(timeout=30)
            session.exec_command(agent_command(self.python))
        except BaseException as error:
            _close_all(clients)
            if isinstance(error, (paramiko.SSHException, OSError, EOFError)):
                raise explain(error, host=self.host) from error
            raise
        return clients, session


def explain(error: Exception, *, host: str) -> HostError:
    """Return what an error of paramiko's means to us."""
    words = str(error) or type(error).__name__
    if isinstance(error, paramiko.BadHostKeyException):
        return HostRefused(
            f"it shows another host key than the known one ({error.key.get_name()} {error.key.fingerprint}). "
            "If the host was really replaced, correct `host_key` or known_hosts; if not, somebody is in between.",
            host=host,
        )
    if isinstance(error, paramiko.AuthenticationException) and not _lost_in_login(words):
        return HostRefused(f"it does not accept our login ({words}). Check user, key and password.", host=host)
    if isinstance(error, (paramiko.ssh_exception.IncompatiblePeer, paramiko.PasswordRequiredException)):
        return HostRefused(f"{words}. Check the key's passphrase and the algorithms.", host=host)
    if "No authentication methods" in words:
        return HostRefused("there is no key, agent or password to log in with. Name one in its settings.", host=host)
    if isinstance(error, paramiko.ChannelException) or "Channel closed" in words:
        return HostRefused(f"it lets us in and executes no command ({words}). Allow exec for this account.", host=host)
    if isinstance(error, (ConnectionRefusedError, paramiko.ssh_exception.NoValidConnectionsError)):
        return TurnedAway(f"nobody listens there ({words}).", host=host, patience=REFUSED_PATIENCE)
    if isinstance(error, (ConnectionResetError, EOFError)) or "protocol banner" in words:
        return TurnedAway(f"it dropped the connection ({words}).", host=host, patience=DROPPED_PATIENCE)
    return HostUnreachable(f"it cannot be reached ({words}).", host=host)


def _connect_all(ssh: SSHSettings, clients: list[paramiko.SSHClient], *, host: str) -> None:
    """Append connected clients of every jump host, and then of the host."""
    sock: Any = None
    if ssh.jump is not None:
        _connect_all(ssh.jump, clients, host=host)
        transport = clients[-1].get_transport()
        assert transport is not None  # noqa: S101 -- connected just now
        sock = transport.open_channel(
            "direct-tcpip", (ssh.hostname, ssh.port), ("127.0.0.1", 0), timeout=ssh.conn_timeout
        )
    elif ssh.proxy_command is not None:
        sock = paramiko.ProxyCommand(ssh.proxy_command)
    check_identity(ssh, host=host)
    client = paramiko.SSHClient()
    clients.append(client)
    client.set_log_channel(_LOG)
    disabled = {kind: list(names) for kind, names in ssh.disabled_algorithms}
    _trust(client, ssh, disabled, host=host)
    client.connect(
        ssh.hostname,
        port=ssh.port,
        username=ssh.username,
        password=ssh.password,
        pkey=_private_key(ssh),
        key_filename=str(Path(ssh.key_file).expanduser()) if ssh.key_file else None,
        passphrase=ssh.passphrase,
        allow_agent=ssh.use_agent,
        look_for_keys=ssh.look_for_keys and not (ssh.key_file or ssh.private_key),
        compress=ssh.compress,
        timeout=ssh.conn_timeout,
        banner_timeout=ssh.banner_timeout,
        auth_timeout=ssh.auth_timeout,
        sock=sock,
        disabled_algorithms=disabled,
        transport_factory=_transport_factory(ssh),
    )
    connected = client.get_transport()
    assert connected is not None  # noqa: S101 -- connect() returned
    connected.set_keepalive(ssh.keepalive)


def _transport_factory(ssh: SSHSettings) -> Callable[..., paramiko.Transport]:
    def build(sock: Any, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(sock, **options)
        if ssh.ciphers:
            transport.get_security_options().ciphers = ssh.ciphers
        return transport

    return build


def _trust(client: paramiko.SSHClient, ssh: SSHSettings, disabled: dict[str, list[str]], *, host: str) -> None:
    """Let the client accept the trusted keys alone, and ask the host for those."""
    trusted = trusted_host_keys(ssh, host=host)
    if trusted is None:
        client.set_missing_host_key_policy(_AcceptAny())
        return
    name = ssh.hostname if ssh.port == SSH_PORT else f"[{ssh.hostname}]:{ssh.port}"
    for kind, data in (key.split() for key in trusted):
        try:
            key = paramiko.PKey.from_type_string(kind, base64.b64decode(data))
        except (paramiko.SSHException, ValueError):
            continue  # a type that paramiko does not speak: another one may do
        client.get_host_keys().add(name, kind, key)
    ours = key_types(trusted)
    if not client.get_host_keys().keys():
        raise HostRefused(f"paramiko knows none of the host key types {sorted(ours)}. Pin another key.", host=host)
    offered = paramiko.Transport._preferred_keys  # type: ignore[attr-defined]
    unwanted = [
        name
        for name in offered
        if name.replace("rsa-sha2-512", "ssh-rsa").replace("rsa-sha2-256", "ssh-rsa") not in ours
    ]
    disabled["keys"] = [*disabled.get("keys", ()), *unwanted]


def _private_key(ssh: SSHSettings) -> paramiko.PKey | None:
    """Return the key, trying each kind: paramiko does not tell by itself."""
    if ssh.private_key is None:
        return None
    errors: list[Exception] = []
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(StringIO(ssh.private_key), password=ssh.passphrase)
        except (paramiko.SSHException, ValueError, IndexError) as error:  # noqa: PERF203
            errors.append(error)
    raise paramiko.PasswordRequiredException(f"the private key cannot be read ({errors[-1]})")


def _lost_in_login(words: str) -> bool:
    """Tell paramiko's "Authentication failed" of a connection that broke from that of a wrong key."""
    return "transport shut down" in words or "timeout" in words.lower()


class _AcceptAny(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Accept it: the settings say so."""


class _ParamikoChannel(Channel):
    """Two threads read and one writes, so that the event loop never waits for paramiko."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clients: list[paramiko.SSHClient], session: paramiko.Channel
    ) -> None:
        self._loop = loop
        self._clients = clients
        self._session = session
        self._tail = Tail()
        self._arrived = asyncio.Event()
        self._pieces: deque[bytes | OSError] = deque()
        self._room = threading.Semaphore(_PIECES_AHEAD)
        self._closed = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="paramiko-write")
        for work in (self._pump_stdout, self._pump_stderr):
            threading.Thread(target=work, name=f"paramiko-{work.__name__}", daemon=True).start()

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
        await asyncio.shield(writing)

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
        return self._session.exit_status if self._session.exit_status >= 0 else None

    @property
    @override
    def stderr(self) -> bytes:
        return bytes(self._tail)

    def _close_in_thread(self) -> None:
        self._session.close()
        _close_all(self._clients)
        self._room.release()

    def _pump_stdout(self) -> None:
        last: bytes | OSError = b""
        try:
            while piece := self._session.recv(_PIECE):
                self._room.acquire()
                self._post(piece)
            transport = self._session.get_transport()
            if not transport.is_active():
                last = ConnectionError(str(transport.get_exception() or "") or "the SSH connection was lost")
        except OSError as error:
            last = error
        self._post(last)

    def _pump_stderr(self) -> None:
        with contextlib.suppress(OSError):  # stdout's reader says it
            while piece := self._session.recv_stderr(4096):
                self._tail.feed(piece)

    def _post(self, piece: bytes | OSError) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it every reader
            self._loop.call_soon_threadsafe(self._take, piece)

    def _take(self, piece: bytes | OSError) -> None:
        self._pieces.append(piece)
        self._arrived.set()


def _close_all(clients: list[paramiko.SSHClient]) -> None:
    for client in reversed(clients):
        transport = client.get_transport()
        client.close()
        proxy = getattr(transport, "sock", None)
        if isinstance(proxy, paramiko.ProxyCommand):
            proxy.process.wait()


def _hang_up(dialling: asyncio.Future[tuple[list[paramiko.SSHClient], paramiko.Channel]]) -> None:
    if not dialling.cancelled() and dialling.exception() is None:
        threading.Thread(target=_close_all, args=(dialling.result()[0],), daemon=True).start()
