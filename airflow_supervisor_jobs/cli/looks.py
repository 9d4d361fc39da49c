"""``status``: looking without touching."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_supervisor_jobs.cli.console import print_error, print_rows, progress, say
from airflow_supervisor_jobs.cli.options import ConfigDir, Exit, Format, Output, Overrides, is_override, overrides_of
from airflow_supervisor_jobs.cli.reach import folder_of, job_of, refuse_empty, settings_of
from airflow_supervisor_jobs.cli.rows import COLUMNS, blank_row, row_of
from airflow_supervisor_jobs.config import Job, load_jobs
from airflow_supervisor_jobs.core.orphans import LIVE
from airflow_supervisor_jobs.core.status import Phase, ProcessStatus
from airflow_supervisor_jobs.exceptions import ConfigError, HostError

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.address import HostSettings


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog="Example: supervisor-jobs status -o json")(status)


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="The job's name, or its file; all jobs without it.")
    ] = None,
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Show how the processes of a job, or of all jobs, are; a host that cannot be reached is shown as such."""
    words = [*([job] if job else []), *(overrides or [])]
    name = None if not words or is_override(words[0]) else words.pop(0)
    errors: list[ConfigError] = []
    jobs = [job_of(name, config_dir=config_dir, overrides=words)] if name else _all(config_dir, words, errors)
    return asyncio.run(_status(jobs, errors, form=output))


def _all(config_dir: Path | None, words: Sequence[str], errors: list[ConfigError]) -> list[Job]:
    folder = folder_of(config_dir)
    jobs = load_jobs(folder, overrides=overrides_of(words), errors=errors)
    return list(jobs.values()) if jobs or errors else refuse_empty(folder)


async def _status(jobs: Sequence[Job], errors: Sequence[ConfigError], *, form: Format) -> int:
    with progress("asking the hosts"):
        answers = await asyncio.gather(*(_ask(*each) for each in _by_settings(jobs)))
    rows = sorted((row for answer in answers for row in answer), key=lambda row: (row["job"], row["process"]))
    print_rows(rows, COLUMNS, form=form)
    for error in errors:
        print_error(error, form=form)
    unseen = {row["host"]: row["error"] for row in rows if row["error"]}
    for words in unseen.values() if form is Format.TABLE else ():
        say(words, style="red")
    for words in _without_supervisord(jobs, rows) if form is Format.TABLE else ():
        say(words, style="yellow")
    if unseen:
        return Exit.HOST
    return Exit.CONFIG if errors else Exit.OK


def _without_supervisord(jobs: Sequence[Job], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each host where something runs and supervisord does not answer, with what brings it back."""
    found: dict[str, str] = {}
    for job in jobs:
        live = [row for row in rows if row["job"] == job.name and row["phase"] and Phase(row["phase"]) in LIVE]
        if any(row["state"] is None for row in live):
            cure = f"A watch brings it back: Airflow's, or supervisor-jobs wait {job.name}"
            cure = "Its own service starts it" if job.host.supervisord.attach else cure
            words = f"{job.host.name}: supervisord does not answer there; what runs goes on. {cure}"
            found.setdefault(job.host.name, words)
    return list(found.values())


def _by_settings(jobs: Sequence[Job]) -> list[tuple[HostSettings | HostError, list[Job]]]:
    """Bring together what one agent can answer for."""
    together: dict[Any, tuple[HostSettings | HostError, list[Job]]] = {}
    for job in jobs:
        try:
            key: HostSettings | HostError = settings_of(job.host)
        except HostError as error:
            key = error
        together.setdefault(key, (key, []))[1].append(job)
    return list(together.values())


async def _ask(settings: HostSettings | HostError, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    from airflow_supervisor_jobs.hosts.connect import open_pipe

    try:
        if isinstance(settings, HostError):
            raise settings
        async with open_pipe(settings) as pipe:
            answer = await pipe.request("status", job=None)
    except HostError as error:
        return [row for job in jobs for row in _blank_rows(job, "UNREACHABLE", str(error))]
    known = {each["job"]: each for each in answer["jobs"]}
    return [row for job in jobs for row in _rows(job, known.get(job.name))]


def _rows(job: Job, answer: Any) -> Iterable[dict[str, Any]]:
    if answer is None:
        return _blank_rows(job, "NOT_INSTALLED", None)
    statuses = (ProcessStatus.from_wire(raw, host=job.host.name) for raw in answer["processes"])
    return [row_of(each, host=job.host.name) for each in statuses]


def _blank_rows(job: Job, state: str, error: str | None) -> list[dict[str, Any]]:
    return [
        blank_row(
            job=job.name, host=job.host.name, program=each.program, process=each.process, state=state, error=error
        )
        for each in job.processes
    ]
