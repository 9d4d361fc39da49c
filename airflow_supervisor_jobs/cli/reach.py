"""From a name on the command line to a job, and from a job to its host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_supervisor_jobs.cli.options import overrides_of
from airflow_supervisor_jobs.config import (
    Host,
    Job,
    Program,
    find_config_dir,
    load_file,
    load_host,
    load_job,
    render_templates,
)
from airflow_supervisor_jobs.core.status import ProcessStatus
from airflow_supervisor_jobs.exceptions import AgentError, ConfigError

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.address import HostSettings
    from airflow_supervisor_jobs.hosts.attendance import Pipes
    from airflow_supervisor_jobs.hosts.base import Pipe


def folder_of(config_dir: Path | None) -> Path:
    """Return the folder of configuration that is meant: the one given, or the nearest ``configs`` from here upward."""
    return find_config_dir(Path.cwd()) if config_dir is None else config_dir.absolute()


def refuse_empty(folder: Path) -> NoReturn:
    """Say that a folder of configuration declares no job: more likely the wrong folder than what is meant.

    :raises ConfigError: always.
    """
    raise ConfigError(f"no jobs in {folder}: there is no file job/NAME.yaml in it. Make one, or give another folder")


def declared_job(name: str, *, config_dir: Path | None, overrides: Sequence[str] | None) -> Job:
    """Return the job that a command line names, or whose file it names.

    :raises ConfigError: there is none, or it cannot be right.
    """
    words = overrides_of(overrides)
    path = Path(name)
    if path.suffix and path.is_file():
        return load_file(path, words, None if config_dir is None else folder_of(config_dir))
    if path.name != name:
        raise ConfigError(f"there is no file {name}. Give a job's name, like {path.stem}, or the path of its file")
    return load_job(name.removesuffix(".yaml"), words, folder_of(config_dir))


def job_of(name: str, *, config_dir: Path | None, overrides: Sequence[str] | None) -> Job:
    """Return the job that a command line names, ready to run.

    :raises ConfigError: there is none, or it cannot be right, or only Airflow could fill in its templates.
    """
    job = declared_job(name, config_dir=config_dir, overrides=overrides)

    def refuse(text: str) -> str:
        if "{{" in text or "{%" in text:
            raise ConfigError(
                f"{text!r} is a template, which only a run of Airflow can fill in. Give the value as an override",
                job=job.name,
            )
        return text

    return render_templates(job, refuse)


def job_to_end(name: str, on: str | None, *, config_dir: Path | None, overrides: Sequence[str] | None) -> Job:
    """Return the job that is to end: where a host is given, a stand-in for one of which no more is known.

    :raises ConfigError: as :func:`job_of`.
    """
    if on is not None:
        host = load_host(on, overrides_of(overrides), folder_of(config_dir))
        return Job(name=name, host=host, programs={"unknown": Program(command="false")})
    try:
        return job_of(name, config_dir=config_dir, overrides=overrides)
    except ConfigError as error:
        words = f"{error.message}\nTo end it without its file, name the host it is on: --on HOST"
        raise type(error)(words, job=error.job) from error


def programs_of(job: Job, names: Sequence[str] | None) -> list[str]:
    """Return the programs that are meant: those named, else all.

    :raises ConfigError: the job has no such program.
    """
    known = list(dict.fromkeys(each.program for each in job.processes))
    for name in names or ():
        if name not in known:
            raise ConfigError(f"there is no program {name!r} in it. There are: {', '.join(known)}", job=job.name)
    return list(names or known)


def settings_of(host: Host) -> HostSettings:
    """Return how to reach ``host``; its connection, if it names one, comes from the environment."""
    from airflow_supervisor_jobs.hosts.connections import load_connection
    from airflow_supervisor_jobs.hosts.settings import resolve

    return resolve(host, load_connection(host.ssh_conn_id) if host.ssh_conn_id else None)


def pipe_to(host: Host) -> Pipe:
    """Return a pipe to ``host``, to be opened with ``async with``."""
    from airflow_supervisor_jobs.hosts.connect import open_pipe

    return open_pipe(settings_of(host))


def pipes_from(pipe: Pipe, host: Host) -> Pipes:
    """Return what gives the open ``pipe`` first, and new ones when it has broken."""
    spare = [pipe]

    @asynccontextmanager
    async def pipes() -> AsyncIterator[Pipe]:
        if spare:
            yield spare.pop()
            return
        async with pipe_to(host) as fresh:
            yield fresh

    return pipes


async def ask_status(pipe: Pipe, job: Job) -> tuple[Mapping[str, Any], list[ProcessStatus]]:
    """Return the job's status and its processes'.

    :raises AgentError: it is not installed on the host.
    """
    try:
        answer = (await pipe.request("status", job=job.name))["jobs"][0]
    except AgentError as error:
        if error.code == "not_installed":
            cure = f"it is not installed on the host. Start it: supervisor-jobs up {job.name}"
            raise AgentError(cure, code=error.code, host=pipe.host, job=job.name) from error
        raise
    return answer, [ProcessStatus.from_wire(raw, host=pipe.host) for raw in answer["processes"]]
