"""``status`` and ``logs``: looking without touching."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from airflow_supervisor_jobs.cli.console import (
    out,
    print_error,
    print_json_line,
    print_plain,
    print_rows,
    progress,
    say,
)
from airflow_supervisor_jobs.cli.options import (
    ConfigDir,
    Exit,
    Format,
    JobName,
    Output,
    Overrides,
    Programs,
    is_override,
    overrides_of,
)
from airflow_supervisor_jobs.cli.reach import (
    ask_status,
    folder_of,
    job_of,
    pipe_to,
    pipes_from,
    programs_of,
    refuse_empty,
    settings_of,
)
from airflow_supervisor_jobs.cli.rows import COLUMNS, blank_row, row_of
from airflow_supervisor_jobs.config import Job, load_jobs
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.status import ProcessStatus
from airflow_supervisor_jobs.exceptions import ConfigError, HostError

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.address import HostSettings
    from airflow_supervisor_jobs.hosts.base import Pipe
    from airflow_supervisor_jobs.hosts.observations import Output as Line

_STREAMS = ("stdout", "stderr")
_LIMIT_BYTES = 262_144


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog="Example: supervisor-jobs status -o json")(status)
    app.command(epilog="Example: supervisor-jobs logs market_feed -n 20 --program feed")(logs)


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


def logs(
    job: JobName,
    overrides: Overrides = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    program: Programs = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of each stream's last lines.")] = 100,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what a job's programs wrote, those of a job that is down as well; as JSON it is an object a line."""
    declared = job_of(job, config_dir=config_dir, overrides=overrides)
    chosen = programs_of(declared, program)
    if not follow:
        return asyncio.run(_logs(declared, chosen, lines, form=output))
    try:
        return asyncio.run(_follow(declared, chosen, lines, form=output))
    except KeyboardInterrupt:
        say(f"{declared.host.name}/{declared.name}: left alone, it goes on")
        return Exit.INTERRUPTED


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
    if unseen:
        return Exit.HOST
    return Exit.CONFIG if errors else Exit.OK


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


async def _logs(job: Job, programs: Sequence[str], lines: int, *, form: Format) -> int:
    processes = [each.process for each in job.processes if each.program in programs]
    found: list[Line] = []
    with progress(f"{job.name}: reading its logs"):
        async with pipe_to(job.host) as pipe:
            for process in processes:
                for stream in _STREAMS:
                    found += [line async for line in _read(pipe, job.name, process, stream, lines)]
    # Sorting is stable: what has no time stays with its neighbours of the same stream.
    show = line_printer(prefix=len(processes) > 1, form=form)
    for line in sorted(found, key=lambda line: line.time or 0.0):
        show(line)
    if not found and lines:
        say(f"{job.host.name}/{job.name}: no output is kept there")
    return Exit.OK


async def _read(pipe: Pipe, job: str, process: str, stream: str, lines: int) -> AsyncIterator[Line]:
    """Yield the last lines of a stream, as far as it went when it was first asked for."""
    from airflow_supervisor_jobs.hosts.lines import LineReader
    from airflow_supervisor_jobs.hosts.observations import Output as Line

    reader = LineReader()
    wanted: dict[str, Any] = {"position": None, "tail": lines}
    end: int | None = None
    while True:
        about = {"job": job, "process": process, "stream": stream, "since": None, "generation": None}
        answer = await pipe.request("logs", **about, **wanted, limit=_LIMIT_BYTES)
        end = answer["end"] if end is None else end
        pieces = []
        for chunk in answer["chunks"]:
            where = {name: chunk[name] for name in ("position", "generation", "time", "lost")}
            pieces += reader.feed(b64decode(chunk["data"]), **where)
        is_last = answer["next"] >= end or not answer["chunks"]
        for line in pieces + (reader.flush() if is_last else []):
            yield Line(process, stream, line.generation, line.position, line.end, line.time, line.text, ours=line.ours)
        if is_last:
            return
        wanted = {"position": answer["next"], "tail": None}


async def _follow(job: Job, programs: Sequence[str], lines: int, *, form: Format) -> int:
    from airflow_supervisor_jobs.hosts.watch import Concluded, Contact, Output, Target, watch

    policy = WatchPolicy.for_job(job, runtime=None, check_timeout=None, unreachable_timeout=None)
    target = Target(job.name, programs=tuple(programs), start=lines or "end")
    async with pipe_to(job.host) as pipe:
        _answer, statuses = await ask_status(pipe, job)
        show = line_printer(prefix=len(statuses) > 1, form=form)
        async with aclosing(watch(target, policy, pipes=pipes_from(pipe, job.host))) as observations:
            async for seen in observations:
                if isinstance(seen, Output):
                    show(seen)
                elif isinstance(seen, Contact) and not seen.reachable:
                    say(f"{seen.error} Waiting for it to come back", style="yellow")
                elif isinstance(seen, Concluded):
                    say(seen.judgement.message)
    return Exit.OK


def line_printer(*, prefix: bool, form: Format) -> Callable[[Line], None]:
    """Return what prints a line of a program, with its process before it where there are several or it is an error's.

    Where a process goes on in another generation, a line on standard error says so.
    """
    names = ("process", "stream", "generation", "position", "time", "text", "ours")
    console = out()
    generations: dict[str, int] = {}

    def show(line: Line) -> None:
        if form is Format.JSON:
            print_json_line({name: getattr(line, name) for name in names})
            return
        if line.generation > generations.setdefault(line.process, line.generation):
            generations[line.process] = line.generation
            say(f"--- {line.process}: generation {line.generation} ---", style="dim")
        text = _marked(line, prefix=prefix)
        if console.is_terminal:
            style = "yellow" if line.ours else ("red" if line.stream == "stderr" else "")
            console.print(Text(text, style=style))
        else:
            print_plain(text)

    return show


def _marked(line: Line, *, prefix: bool) -> str:
    if line.stream == "stderr":
        return f"{line.process}:stderr | {line.text}"
    return f"{line.process} | {line.text}" if prefix else line.text
