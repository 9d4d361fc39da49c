"""A look for orphans on one host, and their end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.core.orphans import (
    CONFIRM_S,
    HeldJob,
    Orphan,
    Run,
    RunState,
    Stray,
    WatchTask,
    find_bereft,
    find_orphans,
    held_jobs,
    in_question,
    seen_twice,
    strays_in,
)
from airflow_supervisor_jobs.exceptions import AgentError, HostUnreachable
from airflow_supervisor_jobs.hosts.base import Pipe

#: Seconds from TERM to KILL for a process that no runner answers for.
GRACE_S = 2.0
#: What became of a finding.
FOUND, ENDED, NOT_ENDED = "found", "ended", "not_ended"


class Airflow(Protocol):
    """What a sweep has to know of the Airflow whose orphans it looks for."""

    @property
    def deployment(self) -> str:
        """The id by which hosts know it."""

    def state_of(self, run: Run) -> RunState:
        """Return what it says of one of its runs now."""

    def watches(self, held: Sequence[HeldJob]) -> list[WatchTask]:
        """Return the tasks that wait for a job's end now; those whose job is among ``held`` may be left out."""


@dataclass(frozen=True)
class Sweeping:
    """How a sweep goes about it.

    :param host: the host that is looked at.
    :param airflow: whom to ask about runs; None finds strays alone.
    :param stop: whether what is found is ended.
    :param by: who ends it, in words.
    :param confirm_s: seconds between the two looks at a job before it is called an orphan; 0 looks once.
    """

    host: Host
    airflow: Airflow | None
    stop: bool
    by: str
    confirm_s: float = CONFIRM_S


@dataclass
class Swept:
    """What a sweep has found on a host, and done about it.

    Each finding is a mapping: ``host, job, process, pid, generation, owner, command, reason, action, error``; its
    ``action`` is ``found``, ``ended`` or ``not_ended``.
    """

    findings: list[dict[str, Any]] = field(default_factory=list)
    #: Jobs of runs of some Airflow, when none could be asked.
    unjudged: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[dict[str, Any]]:
        """The findings that are still there."""
        return [finding for finding in self.findings if finding["action"] != ENDED]


async def sweep(pipe: Pipe, how: Sweeping) -> Swept:
    """Return what nobody on the host answers for, ended if that is wanted.

    An order to stop names the owner that was seen, so a job that changes hands meanwhile is left alone. All of it
    may be done again.

    :raises HostUnreachable: the host was lost on the way.
    """
    swept = Swept()
    if how.airflow is None:
        swept.unjudged = sorted(each.job for each in await _held(pipe) if each.run is not None and each.live)
    else:
        seen = await _look_twice(pipe, how, how.airflow)
        for found in await asyncio.gather(*(_deal_with(pipe, each, how) for each in seen.orphans)):
            swept.findings += found
        swept.findings += [_bereft_row(pipe, each) for each in seen.bereft]
    swept.findings += await _strays(pipe, how)
    return swept


class _Look(NamedTuple):
    """What one look at a host finds."""

    orphans: list[Orphan]
    bereft: list[WatchTask]


async def _look_twice(pipe: Pipe, how: Sweeping, airflow: Airflow) -> _Look:
    """Return what is so at both looks, where there is something and they are to be two."""
    first = await _look(pipe, how, airflow)
    if not any(first) or not how.confirm_s:
        return first
    await asyncio.sleep(how.confirm_s)
    second = await _look(pipe, how, airflow)
    return _Look(seen_twice(first.orphans, second.orphans), [each for each in second.bereft if each in first.bereft])


async def _look(pipe: Pipe, how: Sweeping, airflow: Airflow) -> _Look:
    held = await _held(pipe)
    ours = in_question(held, deployment=airflow.deployment)
    runs = {run for each in ours for run in (each.run, each.heir) if run is not None}
    orphans = find_orphans(ours, {run: airflow.state_of(run) for run in runs})
    watched = [each for each in held if each not in [orphan.held for orphan in orphans]]
    # Asked after the host: what ended in between waits no more.
    watches = airflow.watches(watched)
    return _Look(orphans, find_bereft(watches, held, host=how.host, machine=socket.gethostname()))


async def _held(pipe: Pipe) -> list[HeldJob]:
    return held_jobs(await pipe.request("status", job=None), host=pipe.host)


async def _deal_with(pipe: Pipe, orphan: Orphan, how: Sweeping) -> list[dict[str, Any]]:
    """Return the findings of an orphan: a row for each process that runs, or one for the job where none does."""
    held = orphan.held
    about = {"job": held.job, "owner": held.owner, "reason": orphan.reason}
    rows = [_row(pipe, **about, process=one.process, pid=one.pid, generation=one.generation) for one in held.live]
    rows = rows or [_row(pipe, **about)]
    if not how.stop:
        return rows
    try:
        survivors = await _tear_down(pipe, held, how.by)
    except AgentError as error:
        if error.code in {"not_owner", "not_installed"}:
            return []  # somebody else has seen to it
        return [{**row, "action": NOT_ENDED, "error": str(error)} for row in rows]
    return [_judged(row, survivors.get(row["process"])) for row in rows]


async def _tear_down(pipe: Pipe, held: HeldJob, by: str) -> Mapping[str | None, list[int]]:
    """Do what the run's own teardowns would have; return by process what would not die."""
    whose: dict[str, Any] = {"job": held.job, "owner": held.owner}
    answer = await pipe.request("stop", **whose, programs=None, by=by, reason="stopped")
    survivors = {one["process"]: one["survivors"] for one in answer["processes"] if one["survivors"]}
    if not survivors:
        await pipe.request("stop_supervisord", **whose)
        await pipe.request("remove", **whose, purge=False)
    return survivors


async def _strays(pipe: Pipe, how: Sweeping) -> list[dict[str, Any]]:
    answer = await pipe.request("strays", end=how.stop, grace=GRACE_S)
    rows = [_stray_row(pipe, stray) for stray in strays_in(answer, host=pipe.host)]
    if not how.stop:
        return rows
    survivors = answer["survivors"]
    return [_judged(row, [row["pid"]] if row["pid"] in survivors else []) for row in rows]


def _bereft_row(pipe: Pipe, watch: WatchTask) -> dict[str, Any]:
    return _row(pipe, job=watch.pin["job"], owner=watch.pin["owner"], reason=watch.reason)


def _stray_row(pipe: Pipe, stray: Stray) -> dict[str, Any]:
    return _row(pipe, **{**stray.model_dump(), "reason": stray.reason or "no runner answers for it"})


def _row(pipe: Pipe, **known: Any) -> dict[str, Any]:
    names = ("job", "process", "pid", "generation", "owner", "command", "reason")
    return {"host": pipe.host, **dict.fromkeys(names), **known, "action": FOUND, "error": None}


def _judged(row: Mapping[str, Any], survivors: list[int] | None) -> dict[str, Any]:
    if not survivors:
        return {**row, "action": ENDED}
    pids = ", ".join(map(str, survivors))
    return {**row, "action": NOT_ENDED, "error": f"still there after KILL: {pids}. Look at them on the host"}


async def sweep_patiently(
    pipe: Callable[[], AbstractAsyncContextManager[Pipe]], how: Sweeping, *, retries: int, retry_delay_s: float
) -> Swept:
    """Return what :func:`sweep` does; a host that is out of reach is asked again so often, so many seconds later.

    :raises HostError: it stayed out of reach, or refuses.
    """
    while True:
        try:
            async with pipe() as opened:
                return await sweep(opened, how)
        except HostUnreachable:
            if retries <= 0:
                raise
        retries -= 1
        await asyncio.sleep(retry_delay_s)
