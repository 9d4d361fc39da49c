"""From a declared host, and the Airflow connection that it names, to one :class:`HostSettings`."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.address import SSH_PORT, HostKeys, HostSettings, SSHSettings
from airflow_supervisor_jobs.hosts.algorithms import refuse_unknown
from airflow_supervisor_jobs.hosts.connection import ConnectionLike, connection_fields, parse_host_key

__all__ = ["HostKeys", "HostSettings", "SSHSettings", "resolve"]

USER_CONFIG = Path("~/.ssh/config")
_SAME_NAME = ("hostname", "port", "username", "key_file", "known_hosts", "use_agent", "proxy_command")
_LIMITS = ("conn_timeout", "banner_timeout", "compress")
_JUMP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]]+\]|[^:\s@]+)(?::(?P<port>\d+))?")


def resolve(
    host: Host,
    connection: ConnectionLike | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    user_config: Path | None = USER_CONFIG,
) -> HostSettings:
    """Return how to reach ``host``: its own fields first, then its connection's, then ``SSHHook``'s defaults.

    :param environ: where ``password_env`` and ``passphrase_env`` are looked up; this process's by default.
    :param user_config: the user's ssh_config, of which, as in ``SSHHook``, ProxyCommand and IdentityFile count.
    :raises HostRefused: something is missing, contradicts itself, or is beyond one of the two SSH libraries.
    """
    common = {
        "host": host.name,
        "root": host.root,
        "python": host.python,
        "supervisord": host.supervisord.command,
    }
    if host.ssh_conn_id is None and host.hostname is None:
        return HostSettings(**_without_none(common))
    if host.ssh_conn_id is not None and connection is None:
        raise HostRefused(f"its connection {host.ssh_conn_id!r} was not looked up.", host=host.name)
    fields = connection_fields(connection, host=host.name) if connection else {}
    fields.update(_own_fields(host, os.environ if environ is None else environ))
    start_timeout = fields.pop("start_timeout", None)
    if host.proxy_jump and fields.get("proxy_command"):
        raise HostRefused("it has both a proxy_jump and a proxy_command. Leave one.", host=host.name)
    ssh = _finish(fields, host=host, user_config=user_config)
    refuse_unknown(ssh, host=host.name)
    return HostSettings(**_without_none({**common, "start_timeout": start_timeout}), ssh=ssh)


def _own_fields(host: Host, environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {name: getattr(host, name) for name in (*_SAME_NAME, *_LIMITS)}
    fields["start_timeout"] = host.cmd_timeout
    fields["ciphers"] = tuple(host.ciphers) if host.ciphers else None
    if host.key_file:
        fields["private_key"] = ""  # the connection's gives way
    if host.host_key:
        fields["host_key"] = parse_host_key(host.host_key, host=host.name)
        fields["host_keys"] = HostKeys.KNOWN
    for name, variable in (("password", host.password_env), ("passphrase", host.passphrase_env)):
        if variable:
            if variable not in environ:
                raise HostRefused(f"its {name} is to be in ${variable}, which is not set here. Set it.", host=host.name)
            fields[name] = environ[variable]
    return _without_none(fields)


def _finish(fields: dict[str, Any], *, host: Host, user_config: Path | None) -> SSHSettings:
    if not fields.get("hostname"):
        raise HostRefused(f"its connection {host.ssh_conn_id!r} names no host. Set its host field.", host=host.name)
    fields.setdefault("username", getpass.getuser())
    fields.setdefault("port", SSH_PORT)
    fields["private_key"] = fields.get("private_key") or None
    if fields.get("known_hosts", "").lower() == "none":
        fields.update(known_hosts="~/.ssh/known_hosts", host_keys=HostKeys.ANY)
    _from_user_config(fields, user_config, jumps=host.proxy_jump is not None)
    if fields.get("proxy_command"):
        fields["proxy_command"] = _expand(fields["proxy_command"], fields)
    ssh = SSHSettings(**fields)
    return replace(ssh, jump=_jumps(host.proxy_jump, ssh, host=host.name)) if host.proxy_jump else ssh


def _from_user_config(fields: dict[str, Any], path: Path | None, *, jumps: bool) -> None:
    if path is None or not path.expanduser().is_file():
        return
    import paramiko

    found = paramiko.SSHConfig.from_path(str(path.expanduser())).lookup(fields["hostname"])
    command = found.get("proxycommand")
    if command and command.lower() != "none" and not jumps:
        fields.setdefault("proxy_command", command)
    if found.get("identityfile") and not any(fields.get(name) for name in ("password", "key_file", "private_key")):
        fields["key_file"] = found["identityfile"][0]


def _expand(command: str, fields: Mapping[str, Any]) -> str:
    values = {"%h": fields["hostname"], "%p": str(fields["port"]), "%r": fields["username"], "%%": "%"}
    return re.sub("%[hpr%]", lambda match: values[match[0]], command)


def _jumps(text: str, ssh: SSHSettings, *, host: str) -> SSHSettings | None:
    """Return the last of a chain of jump hosts; they get our keys, never the host's password or pinned key."""
    last: SSHSettings | None = None
    for part in text.split(","):
        match = _JUMP.fullmatch(part.strip())
        if match is None:
            raise HostRefused(f"its proxy_jump {part!r} is not [user@]host[:port].", host=host)
        last = replace(
            ssh,
            hostname=match["host"].strip("[]"),
            username=match["user"] or ssh.username,
            port=int(match["port"] or SSH_PORT),
            password=None,
            host_key=None,
            host_keys=HostKeys.KNOWN if ssh.host_key else ssh.host_keys,
            proxy_command=None,
            jump=last,
        )
    return last


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
