"""The extra sections of a host's ``supervisord.conf``: what its file says about its supervisord."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from airflow_supervisor_jobs.config.daemon import InetHttpServer, Supervisord
from airflow_supervisor_jobs.config.expansion import escape
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.text import can_stand, section
from airflow_supervisor_jobs.exceptions import ConfigError


def write_daemon(host: Host, environ: Mapping[str, str]) -> str | None:
    """Return the host's extra sections, or None if it has none. They stand after ours and change options of them.

    :param environ: where the password of the TCP listener is found, if it is in an environment variable.
    :raises ConfigError: a value that supervisord's file cannot carry, or no password.
    """
    sections = {
        "supervisord": _supervisord(host),
        "unix_http_server": {"chmod": _octal(host.unix_http_server.chmod), "chown": host.unix_http_server.chown},
        "inet_http_server": _inet(host.inet_http_server, environ) if host.inet_http_server else {},
        "supervisorctl": {"prompt": host.supervisorctl.prompt, "history_file": host.supervisorctl.history_file},
        "include": {"files": " ".join(host.include.files)} if host.include else {},
        **{
            f"rpcinterface:{name}": {"supervisor.rpcinterface_factory": each.rpcinterface_factory, **each.options}
            for name, each in host.rpc_interfaces.items()
        },
    }
    texts = [section(title, _checked(host, title, values)) for title, values in sections.items() if _any(values)]
    return "\n".join(texts) or None


def _supervisord(host: Host) -> dict[str, Any]:
    options = host.supervisord
    names = (
        "logfile_maxbytes", "logfile_backups", "loglevel", "silent", "minfds", "minprocs", "nocleanup", "childlogdir",
        "directory", "identifier",
    )  # fmt: skip
    values = {name: getattr(options, name) for name in names}
    return {**values, "umask": _octal(options.umask), "environment": _environment(host, options)}


def _environment(host: Host, options: Supervisord) -> str | None:
    """It is expanded twice, loses quotes of both kinds at a value's ends, and knows no escape."""
    for name, value in options.environment.items():
        if ('"' in value and "'" in value) or value != value.strip("'\""):
            raise ConfigError(
                f"supervisord.environment cannot carry the quotes in {name}. Put it into the programs' environment",
                host=host.name,
            )
    quoted = {name: f"'{value}'" if '"' in value else f'"{value}"' for name, value in options.environment.items()}
    return escape(",".join(f"{name}={value}" for name, value in quoted.items())) or None


def _inet(server: InetHttpServer, environ: Mapping[str, str]) -> dict[str, Any]:
    digest = hashlib.sha1(server.password.resolve(environ).encode(), usedforsecurity=False).hexdigest()
    return {"port": server.port, "username": server.username, "password": f"{{SHA}}{digest}"}


def _checked(host: Host, title: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if isinstance(value, str) and not can_stand(value):
            raise ConfigError(
                f"supervisord's file cannot carry [{title}] {name}={value!r}. Use plain ASCII without ' ;' and ' #'",
                host=host.name,
            )
    return {name: escape(value) if isinstance(value, str) else value for name, value in values.items()}


def _any(values: Mapping[str, Any]) -> bool:
    return any(value is not None for value in values.values())


def _octal(mode: int | None) -> str | None:
    return None if mode is None else f"{mode:03o}"
