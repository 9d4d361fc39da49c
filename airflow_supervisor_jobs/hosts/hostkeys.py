"""Which host keys are trusted: asked once, for both SSH libraries, before the host is touched."""

from __future__ import annotations

import socket
from pathlib import Path

import asyncssh

from airflow_supervisor_jobs.exceptions import HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.address import HostKeys, SSHSettings
from airflow_supervisor_jobs.hosts.refusals import nobody_listens, unknown_name


def trusted_host_keys(ssh: SSHSettings, *, host: str) -> tuple[str, ...] | None:
    """Return the keys that the host may show, as ``type base64``; None: any. It may block for ``ssh.conn_timeout``.

    :raises HostRefused: only known keys are accepted, and none is known.
    :raises HostUnreachable: nor is its name, or nobody listens there: a mistyped name has no known key either.
    """
    if ssh.host_key:
        return (ssh.host_key,)
    if ssh.host_keys is HostKeys.ANY:
        return None
    known = _known(ssh, host=host)
    if not known and ssh.host_keys is HostKeys.KNOWN:
        _check_address(ssh, host=host)
        raise HostRefused(
            f"no host key of {ssh.hostname}:{ssh.port} is known. Pin it as `host_key`, or check and add it to "
            f"{ssh.known_hosts} (ssh-keyscan -p {ssh.port} {ssh.hostname}).",
            host=host,
        )
    return known or None


def _check_address(ssh: SSHSettings, *, host: str) -> None:
    if ssh.jump is not None or ssh.proxy_command:
        return  # those resolve and connect in our place
    try:
        socket.create_connection((ssh.hostname, ssh.port), ssh.conn_timeout).close()
    except socket.gaierror as error:
        raise unknown_name(ssh, host=host) from error
    except ConnectionRefusedError as error:
        raise nobody_listens(ssh, host=host) from error
    except OSError as error:
        raise HostUnreachable(f"it cannot be reached ({error.strerror or error}).", host=host) from error


def key_types(keys: tuple[str, ...]) -> set[str]:
    """Return the types of ``keys``."""
    return {key.split()[0] for key in keys}


def _known(ssh: SSHSettings, *, host: str) -> tuple[str, ...]:
    path = Path(ssh.known_hosts).expanduser()
    if not path.exists():
        return ()
    try:
        # No IP address: what is trusted must not hang on who resolves the name.
        found = asyncssh.read_known_hosts(str(path)).match(ssh.hostname, "", ssh.port)
    except (OSError, ValueError) as error:
        raise HostRefused(
            f"{ssh.known_hosts} cannot be read: {error}. Correct or remove the line.", host=host
        ) from error
    keys, authorities, revoked = found[:3]
    trusted = tuple(" ".join(key.export_public_key().decode().split()[:2]) for key in keys if key not in revoked)
    if authorities and not trusted:
        raise HostRefused(
            f"{ssh.known_hosts} trusts it by a certificate authority, which paramiko cannot check. Pin its `host_key`.",
            host=host,
        )
    return trusted
