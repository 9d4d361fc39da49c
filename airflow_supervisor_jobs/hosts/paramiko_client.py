"""Connecting with paramiko, and what its errors mean."""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko

from airflow_supervisor_jobs.exceptions import HostError, HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.address import SSH_PORT, SSHSettings
from airflow_supervisor_jobs.hosts.handshake import DROPPED_PATIENCE, TurnedAway
from airflow_supervisor_jobs.hosts.hostkeys import key_types, trusted_host_keys
from airflow_supervisor_jobs.hosts.identity import check_identity
from airflow_supervisor_jobs.hosts.proxy import Proxy
from airflow_supervisor_jobs.hosts.refusals import login_refused, nobody_listens, other_host_key, unknown_name

#: paramiko writes tracebacks of what we retry or explain; who wants them sets this logger's level.
_LOG = "airflow_supervisor_jobs.paramiko"
logging.getLogger(_LOG).setLevel(logging.CRITICAL)


def explain(error: Exception, *, host: str, ssh: SSHSettings | None = None, said: str = "") -> HostError:
    """Return what an error of paramiko's means to us; ``said`` is what a proxy command said."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        error = next(iter(error.errors.values()))  # what each address said
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    words = "; ".join(part for part in (reason, said) if part)
    if isinstance(error, paramiko.BadHostKeyException):
        shown, known = (f"{key.get_name()} {key.get_base64()}" for key in (error.key, error.expected_key))
        return other_host_key(shown, [known], host=host)
    if isinstance(error, paramiko.AuthenticationException) and not _lost_in_login(words):
        return login_refused(ssh, words, host=host)
    if isinstance(error, socket.gaierror):
        return unknown_name(ssh, host=host)
    if isinstance(error, (paramiko.ssh_exception.IncompatiblePeer, paramiko.PasswordRequiredException)):
        return HostRefused(f"{words}. Check the key's passphrase and the algorithms.", host=host)
    if "No authentication methods" in words:
        return HostRefused("there is no key, agent or password to log in with. Name one in its settings.", host=host)
    if isinstance(error, paramiko.ChannelException) or "Channel closed" in words:
        return HostRefused(f"it lets us in and executes no command ({words}). Allow exec for this account.", host=host)
    if isinstance(error, ConnectionRefusedError):
        return nobody_listens(ssh, host=host)
    if isinstance(error, (ConnectionResetError, EOFError)) or "protocol banner" in words:
        return TurnedAway(f"it dropped the connection ({words}).", host=host, patience=DROPPED_PATIENCE)
    return HostUnreachable(f"it cannot be reached ({words}).", host=host)


def connect_client(ssh: SSHSettings, stack: ExitStack, *, host: str) -> paramiko.SSHClient:
    """Return a connected client; closing ``stack`` closes it, its proxy, and the connections to the jump hosts.

    :raises HostError: as :func:`explain` says.
    """
    proxy = Proxy(ssh.proxy_command, host=host) if ssh.proxy_command else None
    if proxy is not None:
        stack.callback(proxy.close)
    try:
        return _connect(ssh, proxy.sock if proxy else _through_jump(ssh, stack, host=host), stack, host=host)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise explain(error, host=host, ssh=ssh, said=proxy.said if proxy else "") from error


def _through_jump(ssh: SSHSettings, stack: ExitStack, *, host: str) -> paramiko.Channel | None:
    if ssh.jump is None:
        return None
    transport = connect_client(ssh.jump, stack, host=host).get_transport()
    assert transport is not None  # noqa: S101 -- connected just now
    return transport.open_channel("direct-tcpip", (ssh.hostname, ssh.port), ("127.0.0.1", 0), timeout=ssh.conn_timeout)


def _connect(ssh: SSHSettings, sock: Any, stack: ExitStack, *, host: str) -> paramiko.SSHClient:
    check_identity(ssh, host=host)
    client = paramiko.SSHClient()
    stack.callback(client.close)
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
    return client


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
