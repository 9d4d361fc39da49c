"""``up``, ``wait``, ``restart``, ``stop`` and ``down``: a job's life."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from airflow_supervisor_jobs.cli.console import print_json, print_rows, progress, say
from airflow_supervisor_jobs.cli.options import (
    ConfigDir,
    Exit,
    Format,
    IfRunning,
    JobName,
    OnHost,
    Output,
    Overrides,
    Programs,
    owner,
    who,
)
from airflow_supervisor_jobs.cli.reach import ask_status, job_of, job_to_end, pipe_to, pipes_from, programs_of
from airflow_supervisor_jobs.cli.rows import COLUMNS, row_of
from airflow_supervisor_jobs.config import Job, render_spec, shell_warnings
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.status import EndReason, Phase, ProcessStatus
from airflow_supervisor_jobs.core.verdict import Judgement, Verdict
from airflow_supervisor_jobs.exceptions import JobBusy, JobFailed

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.base import Pipe
    from airflow_supervisor_jobs.hosts.observations import Concluded

#: An order begins the count of restarts anew.
_ACTED = ("action", *(column for column in COLUMNS if column != "restarts"))
_CONSUMER = "cli"
#: Seconds for which ``up`` and ``restart`` look at what they have started.
_SETTLE_S = 0.5


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog="Example: supervisor-jobs up market_feed --wait")(up)
    app.command(epilog="Example: supervisor-jobs wait market_feed --timeout 600")(wait)
    app.command(epilog="Example: supervisor-jobs restart market_feed --program feed")(restart)
    app.command(epilog="Example: supervisor-jobs stop market_feed")(stop)
    app.command(epilog="Example: supervisor-jobs down market_feed --purge")(down)


def up(
    job: JobName,
    overrides: Overrides = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit with its code.")] = False,
    if_running: Annotated[
        IfRunning, typer.Option(help="What to do if it runs and somebody else, as Airflow, has started it.")
    ] = IfRunning.FAIL,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Install a job on its host and start what does not run of it."""
    declared = job_of(job, config_dir=config_dir, overrides=overrides)
    for words in shell_warnings(declared):
        say(words, style="yellow")
    return _patiently(_up(declared, if_running, wait=wait, form=output), declared)


def wait(
    job: JobName,
    overrides: Overrides = None,
    timeout: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Exit with 124 after this.")] = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Wait for the end of a job; exit with its own code, or 128 + the signal that ended it."""
    declared = job_of(job, config_dir=config_dir, overrides=overrides)
    return _patiently(_wait(declared, timeout, form=output), declared)


def restart(
    job: JobName,
    overrides: Overrides = None,
    program: Programs = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Stop a job's programs, if they run, and start them again; whoever watches them goes on."""
    declared = job_of(job, config_dir=config_dir, overrides=overrides)
    return asyncio.run(_restart(declared, program, form=output))


def stop(
    job: JobName,
    overrides: Overrides = None,
    program: Programs = None,
    on: OnHost = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Stop a job's programs and everything that they have started; it stays installed."""
    declared = job_to_end(job, on, config_dir=config_dir, overrides=overrides)
    programs = programs_of(declared, program) if on is None else program
    return asyncio.run(_stop(declared, programs, form=output))


def down(
    job: JobName,
    overrides: Overrides = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its logs and exit records, too.")] = False,
    on: OnHost = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Stop a job, remove it from its host, and stop supervisord there if no other job needs it."""
    declared = job_to_end(job, on, config_dir=config_dir, overrides=overrides)
    return asyncio.run(_down(declared, purge=purge, form=output))


async def _up(job: Job, if_running: IfRunning, *, wait: bool, form: Format) -> int:
    spec = render_spec(job, environ=os.environ)
    with progress(f"{job.name}: connecting to {job.host.name}") as tell:
        async with pipe_to(job.host) as pipe:
            tell(f"{job.name}: installing")
            installed = await _install(pipe, job, spec, if_running)
            tell(f"{job.name}: starting supervisord")
            await pipe.request("start_supervisord", job=job.name)
            tell(f"{job.name}: starting")
            answer = await _start(pipe, job, if_running)
            if wait:
                tell(f"{job.name}: runs")
                return _tell_end(await _watch(pipe, job, None), pipe.host, form=form)
            status = await _tell_start(pipe, job, answer, form=form)
            if installed["changed"] and any(each["action"] == "adopted" for each in answer["processes"]):
                say(f"{job.name}: what runs goes on as it was. To apply the change: supervisor-jobs restart {job.name}")
            return status


async def _install(pipe: Pipe, job: Job, spec: dict[str, Any], if_running: IfRunning) -> Mapping[str, Any]:
    try:
        return await pipe.request("install", spec=spec, owner=owner(), if_running=if_running.value)
    except JobBusy as error:
        words = f"{error.message}; or take it over with --if-running adopt, start it anew with --if-running restart"
        raise JobBusy(words, code=error.code, host=pipe.host, job=job.name, program=error.program) from error


async def _start(pipe: Pipe, job: Job, if_running: IfRunning) -> Mapping[str, Any]:
    """Start what does not run. What ended and was not told to anybody is told by this very order: it starts anew."""
    params = {"job": job.name, "owner": owner(), "programs": None, "if_running": if_running.value}
    answer = await pipe.request("start", **params)
    ended = {each["process"]: each["generation"] for each in answer["processes"] if each["action"] == "ended"}
    if not ended:
        return answer
    await pipe.request("ack", job=job.name, consumer=_CONSUMER, positions={}, reported=ended)
    return await pipe.request("start", **params)


async def _tell_start(pipe: Pipe, job: Job, answer: Mapping[str, Any], *, form: Format) -> int:
    """A moment shows whether the program can be executed at all: a wrong path is to be heard of at once.

    :raises JobFailed: it cannot.
    """
    actions = {raw["process"]: raw["action"] for raw in answer["processes"]}
    statuses = (await _watch(pipe, job, _SETTLE_S, quietly=True)).statuses
    rows = [row_of(status, host=pipe.host, action=actions.get(name)) for name, status in statuses.items()]
    print_rows([row for row in rows if row["action"]], _ACTED, form=form)
    for status in statuses.values():
        if status.record is not None and status.record.reason is EndReason.COULD_NOT_START:
            words = f"could not start: {status.record.message or 'the host gave no reason'}"
            raise JobFailed(words, host=pipe.host, job=job.name, program=status.process)
        if status.has_ended and status.exit_code:
            words = f"has ended already, with {status.exit_code}. See: supervisor-jobs logs {job.name}"
            say(f"{job.name}:{status.process}: {words}")
    return Exit.OK


async def _wait(job: Job, timeout: float | None, *, form: Format) -> int:
    with progress(f"{job.name}: waiting for its end"):
        async with pipe_to(job.host) as pipe:
            _answer, statuses = await ask_status(pipe, job)
            if all(status.phase is Phase.NEW for status in statuses):
                words = f"it was never started, there is nothing to wait for. Start it: supervisor-jobs up {job.name}"
                raise JobFailed(words, host=pipe.host, job=job.name)
            return _tell_end(await _watch(pipe, job, timeout), pipe.host, form=form)


async def _watch(pipe: Pipe, job: Job, timeout: float | None, *, quietly: bool = False) -> Concluded:
    """Return the conclusion. How long the job may run is Airflow's matter; here only ``timeout`` ends the watch."""
    from airflow_supervisor_jobs.hosts.watch import Changed, Contact, Target, watch

    policy = WatchPolicy.for_job(job, runtime=None, check_timeout=timeout, unreachable_timeout=None)
    target = Target(job.name, logs=False, start="end")
    told: dict[str, str] = {}
    async with aclosing(watch(target, policy, pipes=pipes_from(pipe, job.host))) as observations:
        async for seen in observations:
            if isinstance(seen, Changed) and not quietly:
                words = _words(seen.status)
                if told.get(seen.status.process) != words:
                    say(f"{job.name}:{seen.status.process}: {words}", style="dim")
                told[seen.status.process] = words
            elif isinstance(seen, Contact) and not seen.reachable:
                say(f"{seen.error} Waiting for it to come back", style="yellow")
    return cast("Concluded", seen)  # the last there is


def _words(status: ProcessStatus) -> str:
    # supervisord sees the runner alone, and calls it RUNNING before the program is there.
    state = None if status.phase is Phase.STARTING else status.statename
    words = [state or status.phase.value.upper(), f"generation {status.generation}"]
    return ", ".join(words + ([f"pid {status.pid}"] if status.pid else []))


def _tell_end(end: Concluded, host: str, *, form: Format) -> int:
    judgement = _in_our_words(end.judgement)
    rows = [row_of(status, host=host) for status in end.statuses.values()]
    if form is Format.JSON:
        print_json({**judgement.to_dict(), "processes": rows})
    else:
        print_rows(rows, COLUMNS, form=form)
        say(judgement.message)
    return exit_status(judgement)


def _in_our_words(judgement: Judgement) -> Judgement:
    """Here the limit was given as ``--timeout``, not by the job's file."""
    if judgement.verdict is not Verdict.TIMED_OUT:
        return judgement
    return replace(judgement, message=judgement.message.replace("check_timeout", "--timeout"))


def exit_status(judgement: Judgement) -> int:
    """Return what to exit with after a watch: the job's own code, or 128 + the signal that ended it."""
    if judgement.signal is not None:
        return 128 + judgement.signal
    if judgement.exit_code is not None:
        return judgement.exit_code
    statuses = {
        Verdict.FINISHED: Exit.OK,
        Verdict.EXPIRED: Exit.OK,
        Verdict.TIMED_OUT: Exit.TIMED_OUT,
        Verdict.UNREACHABLE: Exit.HOST,
    }
    return statuses.get(judgement.verdict, Exit.FAILED)


def _patiently(work: Any, job: Job) -> int:
    """Run what may take as long as the job; leaving it leaves the job alone."""
    try:
        return int(asyncio.run(work))
    except KeyboardInterrupt:
        say(f"{job.host.name}/{job.name}: left alone, it goes on. To end it: supervisor-jobs stop {job.name}")
        return Exit.INTERRUPTED


async def _restart(job: Job, programs: Sequence[str] | None, *, form: Format) -> int:
    with progress(f"{job.name}: restarting"):
        async with pipe_to(job.host) as pipe:
            present, _statuses = await ask_status(pipe, job)
            await pipe.request("start_supervisord", job=job.name)
            answer = await pipe.request(
                "restart",
                job=job.name,
                owner=present["owner"] or owner(),
                programs=programs_of(job, programs),
                if_running=IfRunning.RESTART.value,
                by=f"{who()}, supervisor-jobs restart",
            )
            return await _tell_start(pipe, job, answer, form=form)


async def _stop(job: Job, programs: list[str] | None, *, form: Format) -> int:
    with progress(f"{job.name}: stopping"):
        async with pipe_to(job.host) as pipe:
            answer = await _order_stop(pipe, job, programs, "supervisor-jobs stop")
            print_rows(_rows(answer, pipe.host), _ACTED, form=form)
            if not answer["processes"]:
                say(f"{job.host.name}/{job.name}: is not installed, there is nothing to stop")
    return Exit.OK


async def _order_stop(pipe: Pipe, job: Job, programs: list[str] | None, command: str) -> Mapping[str, Any]:
    by = f"{who()}, {command}"
    return await pipe.request("stop", job=job.name, owner=None, programs=programs, by=by, reason="stopped")


async def _down(job: Job, *, purge: bool, form: Format) -> int:
    with progress(f"{job.name}: stopping") as tell:
        async with pipe_to(job.host) as pipe:
            stopped = await _order_stop(pipe, job, None, "supervisor-jobs down")
            tell(f"{job.name}: removing")
            daemon = await pipe.request("stop_supervisord", job=job.name, owner=None)
            removed = await pipe.request("remove", job=job.name, owner=None, purge=purge)
            _tell_down(job, _rows(stopped, pipe.host), {**daemon, **removed}, purged=purge, form=form)
    return Exit.OK


def _tell_down(job: Job, rows: list[dict[str, Any]], done: Mapping[str, Any], *, purged: bool, form: Format) -> None:
    if form is Format.JSON:
        result = {"removed": done["removed"], "supervisord_stopped": done["stopped"], "held_by": done["held_by"]}
        print_json({"job": job.name, "host": job.host.name, **result, "processes": rows})
        return
    for row in rows:
        if done["removed"] and row["action"] == "not_running":
            row["action"] = "removed"
    print_rows(rows, _ACTED, form=form)
    held = f"; supervisord stays for {', '.join(done['held_by'])}" if done["held_by"] else ""
    logs = "; no logs are left there" if purged else ""
    say(f"{job.host.name}/{job.name}: {'removed' if done['removed'] else 'is not installed'}{logs}{held}")


def _statuses(answer: Mapping[str, Any], host: str) -> list[ProcessStatus]:
    return [ProcessStatus.from_wire(raw, host=host) for raw in answer["processes"]]


def _rows(answer: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
    actions = [raw["action"] for raw in answer["processes"]]
    statuses = _statuses(answer, host)
    return [row_of(status, host=host, action=action) for status, action in zip(statuses, actions, strict=True)]
