"""What Airflow's SSH connections say, read as the provider's ``SSHHook`` reads them.

``SSHHookAsync`` reads fewer of the extras; we have one reader, so that the triggerer and the worker go the same way.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Protocol

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.address import HostKeys


class ConnectionLike(Protocol):
    """The part of an Airflow connection that matters."""

    @property
    def host(self) -> str | None:
        """The host's name or address."""

    @property
    def port(self) -> int | None:
        """The port of its sshd."""

    @property
    def login(self) -> str | None:
        """Whom to log in as."""

    @property
    def password(self) -> str | None:
        """The password, or the key's passphrase."""

    @property
    def extra(self) -> str | None:
        """The rest, as JSON."""


def connection_fields(connection: ConnectionLike, *, host: str) -> dict[str, Any]:
    """Return the fields of ``SSHSettings`` that the connection sets, and ``start_timeout``.

    :raises HostRefused: it contradicts itself, or says what no SSH library of ours can do.
    """
    extra = _extra(connection, host=host)
    given = _Extra(extra, host=host)
    if given.text("key_file") and given.text("private_key"):
        raise HostRefused("its connection has both key_file and private_key. Leave one.", host=host)
    password = (connection.password or "").strip() or None
    fields = {
        "hostname": connection.host or None,
        "port": connection.port or None,
        "username": connection.login or None,  # Airflow keeps a field that was left empty as ""
        "password": password,
        "key_file": given.text("key_file"),
        "private_key": given.text("private_key"),
        "passphrase": given.text("private_key_passphrase") or given.text("passphrase") or password,
        "look_for_keys": given.flag("look_for_keys"),
        "proxy_command": given.text("host_proxy_cmd"),
        "conn_timeout": given.seconds("conn_timeout"),
        "banner_timeout": given.seconds("banner_timeout"),
        "auth_timeout": given.seconds("auth_timeout"),
        "start_timeout": given.seconds("cmd_timeout"),
        "compress": given.flag("compress"),
        "ciphers": given.names("ciphers", extra.get("ciphers")),
        "disabled_algorithms": given.algorithms(),
        **_host_key_fields(given, host=host),
    }
    return {name: value for name, value in fields.items() if value is not None and value != ()}


def parse_host_key(text: str, *, host: str) -> str:
    """Return a host's public key as ``type base64``; the type may be missing, the key itself has it.

    :raises HostRefused: it is no public key.
    """
    words = text.split()
    data = words[1] if len(words) > 1 else words[0] if words else ""
    try:
        blob = base64.b64decode(data, validate=True)
        size = int.from_bytes(blob[:4], "big")
        kind = blob[4 : 4 + size].decode("ascii")
    except (binascii.Error, ValueError):
        kind = ""
    if not kind.startswith(("ssh-", "ecdsa-", "sk-")) or kind == "ssh-dss":
        raise HostRefused(
            "its `host_key` is no RSA, ECDSA or Ed25519 public key. Take a line of ssh-keyscan, without the name.",
            host=host,
        )
    return f"{kind} {data}"


def _host_key_fields(given: _Extra, *, host: str) -> dict[str, Any]:
    unchecked = given.flag("no_host_key_check")
    if unchecked is None:
        unchecked = given.flag("ignore_hostkey_verification")
    pinned = given.text("host_key")
    if pinned and unchecked:
        raise HostRefused("its connection has a host_key and no_host_key_check. Leave one.", host=host)
    known_hosts = given.text("known_hosts")
    anything = given.flag("allow_host_key_change") or (known_hosts or "").lower() == "none"
    policy = HostKeys.ANY if anything else HostKeys.NEW if unchecked else None
    return {
        "host_keys": policy,
        "host_key": parse_host_key(pinned, host=host) if pinned else None,
        "known_hosts": None if anything else known_hosts,
    }


def _extra(connection: ConnectionLike, *, host: str) -> Mapping[str, Any]:
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise HostRefused("its connection's extra is no JSON object. Correct it.", host=host)
    return extra


class _Extra:
    """Reads an extra by kind; what is empty is missing, as for ``SSHHook``."""

    def __init__(self, extra: Mapping[str, Any], *, host: str) -> None:
        self._extra = extra
        self._host = host

    def text(self, name: str) -> str | None:
        value = self._extra.get(name)
        return str(value) if value else None

    def flag(self, name: str) -> bool | None:
        value = self._extra.get(name)
        return None if value is None else str(value).lower() == "true"

    def seconds(self, name: str) -> float | None:
        value = self._extra.get(name)
        if not value:
            return None
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = 0
        if not 0 < seconds < float("inf"):
            raise HostRefused(f"its connection's {name} must be a number of seconds, not {value!r}.", host=self._host)
        return seconds

    def names(self, what: str, value: Any) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise HostRefused(f"its connection's {what} must be a list of names.", host=self._host)
        return tuple(value)

    def algorithms(self) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
        value = self._extra.get("disabled_algorithms")
        if not value:
            return None
        if not isinstance(value, dict):
            raise HostRefused("its connection's disabled_algorithms must map kinds to lists of names.", host=self._host)
        kinds = {kind: self.names(f"disabled_algorithms[{kind!r}]", names) for kind, names in value.items()}
        return tuple(sorted((kind, names) for kind, names in kinds.items() if names))
