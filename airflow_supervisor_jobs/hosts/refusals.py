"""What is said when a host cannot be reached or turns us away: the same words for both SSH libraries."""

from __future__ import annotations

from collections.abc import Sequence

import asyncssh

from airflow_supervisor_jobs.exceptions import HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts.address import SSHSettings
from airflow_supervisor_jobs.hosts.handshake import REFUSED_PATIENCE, TurnedAway


def unknown_name(ssh: SSHSettings | None, *, host: str) -> HostUnreachable:
    """Return what to say of a host whose name cannot be resolved."""
    name = f"its name {ssh.hostname!r}" if ssh else "its name"
    return HostUnreachable(f"{name} cannot be resolved here. Correct `hostname`, or this machine's DNS.", host=host)


def nobody_listens(ssh: SSHSettings | None, *, host: str) -> TurnedAway:
    """Return what to say of a host that refuses connections."""
    where = f"on {ssh.hostname}:{ssh.port}" if ssh else "there"
    words = f"nobody listens {where}. Check that the host is up, its `port`, and sshd."
    return TurnedAway(words, host=host, patience=REFUSED_PATIENCE)


def other_host_key(shown: str, known: Sequence[str], *, host: str) -> HostRefused:
    """Return what to say of a host that shows another key; keys are ``type base64``."""
    fingerprints = ", ".join(fingerprint(key) for key in known)
    return HostRefused(
        f"it shows another host key than the known one (shown: {fingerprint(shown)}; known: {fingerprints}). "
        "If the host was really replaced, correct `host_key` or known_hosts; if not, somebody is in between.",
        host=host,
    )


def login_refused(ssh: SSHSettings | None, said: str, *, host: str) -> HostRefused:
    """Return what to say of a host that does not accept what we log in with."""
    tried = f" of user {ssh.username!r}, tried with {_ways(ssh)}" if ssh else ""
    words = f"it does not accept our login{tried} ({said.rstrip('.')}). Check user, key and password."
    return HostRefused(words, host=host)


def fingerprint(key: str) -> str:
    """Return ``type SHA256:…`` of a key given as ``type base64``."""
    public = asyncssh.import_public_key(key)
    return f"{public.get_algorithm()} {public.get_fingerprint()}"


def _ways(ssh: SSHSettings) -> str:
    own_key = bool(ssh.key_file or ssh.private_key)
    ways = {
        f"key file {ssh.key_file}": ssh.key_file is not None,
        "the private_key of its settings": ssh.private_key is not None,
        "the keys in ~/.ssh": ssh.look_for_keys and not own_key,
        "the SSH agent": ssh.use_agent,
        "a password": ssh.password is not None,
    }
    return ", ".join(way for way, is_tried in ways.items() if is_tried) or "nothing"
