"""``logs``: what the programs wrote, from whichever point on, until now or until the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from airflow_supervisor_jobs.cli.console import out, print_json_line, print_plain, progress, say
from airflow_supervisor_jobs.cli.options import ConfigDir, Exit, Format, JobName, Output, Overrides, Programs
from airflow_supervisor_jobs.cli.reach import ask_status, job_of, pipe_to, pipes_from, programs_of
from airflow_supervisor_jobs.cli.since import parse_since
from airflow_supervisor_jobs.config import Job
from airflow_supervisor_jobs.core.policy import Forward, WatchPolicy
from airflow_supervisor_jobs.exceptions import AgentError, ConfigError

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.base import Pipe
    from airflow_supervisor_jobs.hosts.observations import Output as Line
    from airflow_supervisor_jobs.hosts.tails import Stretch

_STREAMS = ("stdout", "stderr")
_LAST_LINES = 100


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Example: supervisor-jobs logs market_feed -n 20 --program feed")(logs)


@dataclass(frozen=True)
class Wanted:
    """Which lines are to be shown, and how.

    :param lines: so many of the last ones of each stream; None: all.
    :param since: what of them was printed since then, in words; None: whenever.
    :param previous: those of the generation before the present one.
    """

    lines: int | None
    since: str | None
    previous: bool
    timestamps: bool
    form: Format

    async def begin(self, pipe: Pipe) -> dict[str, Any]:
        """Return where a stream begins to be of interest, as its host puts it."""
        if self.since is None:
            return {}
        return {"since": parse_since(self.since, now=(await pipe.request("ping"))["now"])}


def logs(
    job: JobName,
    overrides: Overrides = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    program: Programs = None,
    lines: Annotated[
        int | None,
        typer.Option("-n", "--lines", min=0, help="How many of each stream's last lines; 100, or all --since a time."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What was printed since then: 10m ago, 08:30 today, 2026-11-21T08:30:00Z."),
    ] = None,
    previous: Annotated[bool, typer.Option("--previous", help="The generation before the present one.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with when it was printed.")] = False,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what a job's programs wrote, those of a job that is down as well; as JSON it is an object a line."""
    if previous and (follow or since is not None):
        raise ConfigError("--previous is a generation that has ended, and all of it: leave out --follow and --since")
    declared = job_of(job, config_dir=config_dir, overrides=overrides)
    chosen = programs_of(declared, program)
    count = _LAST_LINES if lines is None and since is None else lines
    wanted = Wanted(count, since, previous, timestamps, output)
    if not follow:
        return asyncio.run(_logs(declared, chosen, wanted))
    try:
        return asyncio.run(_follow(declared, chosen, wanted))
    except KeyboardInterrupt:
        say(f"{declared.host.name}/{declared.name}: left alone, it goes on")
        return Exit.INTERRUPTED


async def _logs(job: Job, programs: Sequence[str], wanted: Wanted) -> int:
    processes = [each.process for each in job.processes if each.program in programs]
    found: list[Line] = []
    with progress(f"{job.name}: reading its logs"):
        async with pipe_to(job.host) as pipe:
            before = await _generations_before(pipe, job, processes) if wanted.previous else {}
            begin = await wanted.begin(pipe)
            for process in processes:
                begin = {"generation": before[process]} if wanted.previous else begin
                for stream in _STREAMS:
                    found += await _read(pipe, job.name, process, stream, begin, wanted.lines)
    # Sorting is stable: what has no time stays with its neighbours of the same stream.
    several = any(line.generation > 1 for line in found)
    show = line_printer(prefix=len(processes) > 1, headed=several, timestamps=wanted.timestamps, form=wanted.form)
    for line in sorted(found, key=lambda line: line.time or 0.0):
        show(line)
    if not found and wanted.lines != 0:
        which = " of a generation before" if wanted.previous else " of that time" if wanted.since else ""
        say(f"{job.host.name}/{job.name}: no output{which} is kept there")
    return Exit.OK


async def _generations_before(pipe: Pipe, job: Job, processes: Sequence[str]) -> dict[str, int]:
    """Return the generation before the present one; of a job that is down the present one is what printed last."""
    try:
        _answer, statuses = await ask_status(pipe, job)
        present = {status.process: status.generation for status in statuses}
    except AgentError as error:
        if error.code != "not_installed":
            raise
        present = {process: await _last_generation(pipe, job.name, process) for process in processes}
    return {process: max(0, present.get(process, 0) - 1) for process in processes}


async def _last_generation(pipe: Pipe, job: str, process: str) -> int:
    lines = [line for stream in _STREAMS for line in await _read(pipe, job, process, stream, {}, 1)]
    return max((line.generation for line in lines), default=0)


async def _read(
    pipe: Pipe, job: str, process: str, stream: str, begin: dict[str, Any], count: int | None
) -> list[Line]:
    from airflow_supervisor_jobs.hosts.observations import Output as Line
    from airflow_supervisor_jobs.hosts.tails import find_stretch

    stretch = await find_stretch(pipe, job, process, stream, **begin)
    lines = [line async for line in stretch.lines()] if count is None else await stretch.last_lines(count)
    return [
        Line(process, stream, line.generation, line.position, line.end, line.time, line.text, ours=line.ours)
        for line in lines
    ]


async def _follow(job: Job, programs: Sequence[str], wanted: Wanted) -> int:
    from airflow_supervisor_jobs.hosts.watch import Concluded, Contact, Output, Target, watch

    limits = {"runtime": None, "check_timeout": None, "unreachable_timeout": None}
    policy = WatchPolicy.for_job(job, **limits, forward_logs=Forward.ALL, max_log_rate=None)
    async with pipe_to(job.host) as pipe:
        _answer, statuses = await ask_status(pipe, job)
        begin: Any = wanted.lines or "end"
        if wanted.since is not None:
            begin = await _positions(pipe, job, programs, wanted)
        target = Target(job.name, programs=tuple(programs), start=begin)
        several = any(status.generation > 1 for status in statuses)
        show = line_printer(prefix=len(statuses) > 1, headed=several, timestamps=wanted.timestamps, form=wanted.form)
        async with aclosing(watch(target, policy, pipes=pipes_from(pipe, job.host))) as observations:
            async for seen in observations:
                if isinstance(seen, Output):
                    show(seen)
                elif isinstance(seen, Contact) and not seen.reachable:
                    say(f"{seen.error} Waiting for it to come back", style="yellow")
                elif isinstance(seen, Concluded):
                    say(seen.judgement.message)
    return Exit.OK


async def _positions(pipe: Pipe, job: Job, programs: Sequence[str], wanted: Wanted) -> dict[str, dict[str, int]]:
    """Return where each stream is to be followed from: that of a program that is not asked for, from its end."""
    from airflow_supervisor_jobs.hosts.tails import find_stretch

    begin = await wanted.begin(pipe)
    positions: dict[str, dict[str, int]] = {}
    for each in job.processes:
        for stream in _STREAMS:
            stretch = await find_stretch(pipe, job.name, each.process, stream, **begin)
            position = await _first(stretch, wanted.lines) if each.program in programs else stretch.end
            positions.setdefault(each.process, {})[stream] = position
    return positions


async def _first(stretch: Stretch, count: int | None) -> int:
    if count is None:
        return stretch.begin
    lines = await stretch.last_lines(count)
    return lines[0].position if lines else stretch.end


def line_printer(*, prefix: bool, headed: bool, timestamps: bool, form: Format) -> Callable[[Line], None]:
    """Return what prints a line of a program, with its process before it where there are several or it is an error's.

    Where a process goes on in another generation, a line on standard error says so; ``headed``, the first one's too.
    """
    names = ("process", "stream", "generation", "position", "time", "text", "ours")
    console = out()
    generations: dict[str, int] = {}

    def show(line: Line) -> None:
        if form is Format.JSON:
            print_json_line({name: getattr(line, name) for name in names})
            return
        if line.generation > generations.setdefault(line.process, 0 if headed else line.generation):
            generations[line.process] = line.generation
            say(f"--- {line.process}: generation {line.generation} ---", style="dim")
        text = f"{_stamp(line.time)} " if timestamps else ""
        text += _marked(line, prefix=prefix)
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


def _stamp(time: float | None) -> str:
    return "-" if time is None else datetime.fromtimestamp(time).astimezone().isoformat(timespec="milliseconds")
