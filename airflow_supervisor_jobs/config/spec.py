"""The spec: what a host is told of a job (docs/reference/protocol.md)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from airflow_supervisor_jobs.config.daemon_writer import write_daemon
from airflow_supervisor_jobs.config.environment import Secret
from airflow_supervisor_jobs.config.job import Job, Process
from airflow_supervisor_jobs.config.program import ProcessOptions, Program, Restart
from airflow_supervisor_jobs.config.writer import write_conf
from airflow_supervisor_jobs.exceptions import ConfigError

FORMAT = 1

_WHEN = {False: "never", "unexpected": "unexpected", True: "always"}
_STREAMS = ("stdout", "stderr")


def render_spec(job: Job, *, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the spec of ``job``, its secrets looked up.

    :param environ: where secrets are found that are in environment variables; by default this process's own.
    :raises ConfigError: a secret is missing, or something cannot be carried to the host.
    """
    try:
        spec = _spec(job, os.environ if environ is None else environ)
    except ConfigError as error:
        raise ConfigError(error.message, host=error.host, job=job.name, program=error.program) from error
    return {**spec, "hash": hash_of(spec)}


def _spec(job: Job, environ: Mapping[str, str]) -> dict[str, Any]:
    daemon = job.host.supervisord
    return {
        "format": FORMAT,
        "job": job.name,
        "daemon": {
            "conf": write_daemon(job.host, environ),
            "attach": daemon.attach,
            "command": daemon.command,
            "retention": {"age": job.host.log_retention, "size": job.host.log_retention_size},
        },
        "conf": write_conf(job),
        "lease": job.airflow.lease,
        "outlives": not job.airflow.stop_on_exit,
        "processes": [_process(each, environ) for each in job.processes],
    }


def hash_of(spec: Mapping[str, Any]) -> str:
    """Return the hash of all of a spec but its hash."""
    rest = {key: value for key, value in spec.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _process(process: Process, environ: Mapping[str, str]) -> dict[str, Any]:
    options = process.options
    return {
        "process": process.process,
        "program": process.program,
        "group": process.group,
        "kind": process.kind.value,
        "argv": [process.expand(word) for word in options.argv],
        "directory": options.directory and process.expand(options.directory),
        "umask": options.umask,
        "user": options.user,
        "environment": _environment(process, environ),
        "exitcodes": list(options.exitcodes),
        "stopsignal": options.stopsignal,
        "stopwaitsecs": options.stopwaitsecs,
        "stopasgroup": options.stopasgroup,
        "killasgroup": options.stopasgroup if options.killasgroup is None else options.killasgroup,
        "startsecs": options.startsecs,
        "startretries": options.startretries,
        "restart": _restart(options),
        "stdout": _log(process, "stdout"),
        "stderr": None if options.redirect_stderr else _log(process, "stderr"),
        "redirect_stderr": options.redirect_stderr,
        "tee": _tee(options),
        "if_supervisord_dies": options.if_supervisord_dies.value if isinstance(options, Program) else "keep",
        "on_reboot": options.on_reboot.value if isinstance(options, Program) else "fail",
        "watchdog": options.watchdog if isinstance(options, Program) else None,
        "heartbeat_file": options.heartbeat_file if isinstance(options, Program) else None,
    }


def _environment(process: Process, environ: Mapping[str, str]) -> dict[str, str]:
    values = process.options.environment
    return {name: _value(process, name, value, environ) for name, value in values.items()}


def _value(process: Process, name: str, value: str | Secret, environ: Mapping[str, str]) -> str:
    """A secret is what it is: nothing is expanded in it."""
    if isinstance(value, str):
        return process.expand(value)
    try:
        return value.resolve(environ)
    except ConfigError as error:
        raise ConfigError(f"environment.{name}: {error.message}", program=process.program) from error


def _restart(options: ProcessOptions) -> dict[str, Any]:
    restart = options.restart if isinstance(options, Program) else Restart()
    return {"when": _WHEN[options.autorestart], **restart.model_dump(mode="json")}


def _log(process: Process, stream: str) -> dict[str, Any] | None:
    path = str(getattr(process.options, f"{stream}_logfile"))
    if path == "NONE":
        return None
    return {
        "path": None if path == "AUTO" else process.expand(path),
        "maxbytes": getattr(process.options, f"{stream}_logfile_maxbytes"),
        "backups": getattr(process.options, f"{stream}_logfile_backups"),
    }


def _tee(options: ProcessOptions) -> bool:
    ways = ("events_enabled", "syslog")
    return any(getattr(options, f"{stream}_{way}") for stream in _STREAMS for way in ways)
