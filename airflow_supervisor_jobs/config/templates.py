"""Jinja in a job: where it is rendered, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from airflow_supervisor_jobs.config.diagnose import diagnose
from airflow_supervisor_jobs.config.host import UNNAMED
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.values import is_template
from airflow_supervisor_jobs.exceptions import ConfigError

Render = Callable[[str], str]

#: The options of a program that may have Jinja in them.
PROGRAM_TEMPLATES = ("command", "environment", "directory")
#: The fields of a host that may.
HOST_TEMPLATES = (
    "ssh_conn_id", "hostname", "username", "key_file", "known_hosts", "host_key", "proxy_command", "proxy_jump", "root",
    "python",
)  # fmt: skip
_SECTIONS = ("programs", "fcgi_programs", "event_listeners")


def render_templates(job: Job, render: Render) -> Job:
    """Return ``job`` with its Jinja rendered, and validated again.

    A rendered command that is a text is split into words afterwards; in a list each word stays one.

    :param render: renders one text. It is called for texts with Jinja in them only.
    :raises ConfigError: what was rendered is not a valid job.
    """
    data = job.model_dump()
    for name in _SECTIONS:
        for program in data[name].values():
            _render_in(program, PROGRAM_TEMPLATES, render)
    host = data["host"]
    _render_in(host, HOST_TEMPLATES, render)
    if host["name"] == UNNAMED:
        host["name"] = host["hostname"] or host["ssh_conn_id"]
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"after rendering: {diagnose(error, Job, ())}", host=job.host.name, job=job.name) from error


def _render_in(section: dict[str, Any], names: tuple[str, ...], render: Render) -> None:
    for name in names:
        section[name] = _rendered(section[name], render)


def _rendered(value: Any, render: Render) -> Any:
    """Return ``value`` rendered: a text, the words of a command, or an environment, whose secrets are left alone."""
    if isinstance(value, str):
        return str(render(value)) if is_template(value) else value
    if isinstance(value, tuple):
        return tuple(_rendered(word, render) for word in value)
    if isinstance(value, dict):
        return {key: _rendered(item, render) if isinstance(item, str) else item for key, item in value.items()}
    return value
