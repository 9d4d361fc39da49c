"""Airflow connections by their id: Airflow's own in a task or trigger, from the environment elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.connection import ConnectionLike

_TASK_RUNNER = "airflow.sdk.execution_time.task_runner"


@dataclass(frozen=True)
class EnvironmentConnection:
    """A connection that ``AIRFLOW_CONN_<ID>`` holds, as JSON or as a URI."""

    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: str | None = field(default=None, repr=False)

    @classmethod
    def from_text(cls, text: str) -> EnvironmentConnection:
        """Return the connection that Airflow would read from ``text``.

        :raises ValueError: it is neither JSON nor a URI of a connection.
        """
        return cls(**(_from_json(text) if text.lstrip().startswith("{") else _from_uri(text)))


def load_connection(conn_id: str) -> ConnectionLike:
    """Return the connection: by Airflow in a task, by ``AIRFLOW_CONN_<ID>`` elsewhere.

    :raises HostRefused: there is none of that name.
    """
    if not _inside_airflow():
        return _from_environment(conn_id, os.environ)
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return cast("ConnectionLike", Connection.get(conn_id))
    except AirflowNotFoundException as error:
        raise _unknown(conn_id, "in Airflow") from error


async def aload_connection(conn_id: str) -> ConnectionLike:
    """Return the connection as :func:`load_connection` does, without stopping the triggerer's loop.

    :raises HostRefused: there is none of that name.
    """
    if not _inside_airflow():
        return _from_environment(conn_id, os.environ)
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return cast("ConnectionLike", await Connection.async_get(conn_id))
    except AirflowNotFoundException as error:
        raise _unknown(conn_id, "in Airflow") from error


def _inside_airflow() -> bool:
    """Tell whether a supervisor of Airflow's answers this process, by what Airflow itself goes by."""
    return getattr(sys.modules.get(_TASK_RUNNER), "SUPERVISOR_COMMS", None) is not None


def _from_environment(conn_id: str, environ: Mapping[str, str]) -> ConnectionLike:
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if variable not in environ:
        raise _unknown(conn_id, f"in ${variable}, and outside Airflow its database is not asked")
    try:
        return EnvironmentConnection.from_text(environ[variable])
    except (ValueError, TypeError) as error:
        # No value in the message: it may hold a password.
        raise HostRefused(f"${variable} is neither a connection's JSON nor its URI. Correct it.") from error


def _unknown(conn_id: str, where: str) -> HostRefused:
    return HostRefused(f"there is no connection {conn_id!r} {where}. Define it.")


def _from_json(text: str) -> dict[str, Any]:
    value = json.loads(text)
    extra = value.get("extra")
    return {
        "host": value.get("host"),
        "port": int(value["port"]) if value.get("port") else None,
        "login": value.get("login"),
        "password": value.get("password"),
        "extra": extra if extra is None or isinstance(extra, str) else json.dumps(extra),
    }


def _from_uri(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    if not parts.scheme or not text.startswith(f"{parts.scheme}://"):
        raise ValueError("no scheme")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {
        "host": unquote(parts.hostname) if parts.hostname else None,
        "port": parts.port,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "extra": query.get("__extra__") or (json.dumps(query) if query else None),
    }
