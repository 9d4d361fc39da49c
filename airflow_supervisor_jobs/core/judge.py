"""From what is known of a job now to a judgement: pure, total, and the only place that decides it.

Facts come first: what a host said about an end is true however long ago it was, and whatever the clock says.
Only then come the limits. A host out of sight expires nothing: its job may have ended otherwise before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_supervisor_jobs.core.ending import End, end_of
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.status import ProcessStatus
from airflow_supervisor_jobs.core.verdict import Judgement, Verdict


@dataclass(frozen=True)
class View:
    """What a watch knows at one moment. Ages are in seconds and monotonic: no clock's step changes them.

    :param statuses: the newest of every process that is watched, by the process's name.
    :param owner: whose watch it is; None is nobody's in particular.
    :param owner_now: who owns the job on the host.
    :param gone: the job is not installed on the host any more.
    :param reachable: whether the host is in sight, and ``error`` why not.
    :param watched_s: age of the watch.
    :param running_s: age of the programs' start, None before it.
    :param unreachable_s: age of the outage.
    :param refused_s: age of the refusal, where the host is there and lets nobody in.
    :param ended_s: age of the first sight of each process's end.
    :param last_lines: newest output of each process, oldest first.
    """

    statuses: Mapping[str, ProcessStatus] = field(default_factory=dict)
    owner: Mapping[str, str] | None = None
    owner_now: Mapping[str, str] | None = None
    gone: bool = False
    reachable: bool = True
    error: str | None = None
    watched_s: float = 0.0
    running_s: float | None = None
    unreachable_s: float = 0.0
    refused_s: float | None = None
    ended_s: Mapping[str, float] = field(default_factory=dict)
    last_lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def superseded(self) -> bool:
        """Whether somebody else owns the job now."""
        return self.owner is not None and self.owner_now is not None and dict(self.owner_now) != dict(self.owner)


#: Which of several ends decides: the gravest.
_GRAVITY = (Verdict.FAILED, Verdict.LOST, Verdict.STOPPED, Verdict.EXPIRED)


def judge(policy: WatchPolicy, view: View, *, now: float) -> Judgement:
    """Return what is true of the job.

    :param now: seconds since the epoch, for ``endtime`` alone.
    """
    return (
        _by_ends(policy, view)
        or _superseded(policy, view)
        or _gone(policy, view)
        or _expired(policy, view, now)
        or _timed_out(policy, view)
        or _unreachable(policy, view)
        or Judgement(Verdict.RUNNING, f"{_subject(policy)}: runs", final=False)
    )


def _by_ends(policy: WatchPolicy, view: View) -> Judgement | None:
    """One bad end of an essential program decides at once; good ones only together."""
    deciding = [status for status in view.statuses.values() if policy.is_essential(status.program)]
    if view.superseded and any(status.owner != view.owner for status in deciding):
        return None
    ends = {status.process: _end(policy, view, status) for status in deciding}
    known = [end for end in ends.values() if end is not None]
    for verdict in _GRAVITY:
        bad = [end for end in known if end.verdict is verdict]
        if bad:
            return _judgement(policy, view, min(bad, key=lambda end: end.at))
    if not ends or len(known) < len(ends):
        return None
    skipped = [end for end in known if end.verdict is Verdict.SKIPPED]
    return _judgement(policy, view, skipped[0]) if skipped else _finished(policy, known)


def _end(policy: WatchPolicy, view: View, status: ProcessStatus) -> End | None:
    return end_of(
        status,
        exitcodes=policy.program(status.program).exitcodes,
        skip_on_exit_code=policy.skip_on_exit_code,
        seen_s=view.ended_s.get(status.process, 0.0),
    )


def _judgement(policy: WatchPolicy, view: View, end: End) -> Judgement:
    lines = tuple(view.last_lines.get(end.process, ()))
    said = f" (last line: {lines[-1]})" if lines else ""
    log = f" Full log: {end.log}" if end.log else ""
    return Judgement(
        verdict=end.verdict,
        message=f"{_subject(policy)}:{end.process}: {end.words}{said}.{log}",
        exit_code=end.exit_code,
        signal=end.signal,
        program=end.process,
        last_lines=lines,
    )


def _finished(policy: WatchPolicy, ends: list[End]) -> Judgement:
    told = ", ".join(f"{end.process} {end.words}" for end in ends)
    codes = {end.exit_code for end in ends}
    return Judgement(
        Verdict.FINISHED, f"{_subject(policy)}: finished ({told})", exit_code=codes.pop() if len(codes) == 1 else 0
    )


def _superseded(policy: WatchPolicy, view: View) -> Judgement | None:
    if not view.superseded or view.owner_now is None:
        return None
    who = ", ".join(f"{key} {value}" for key, value in sorted(view.owner_now.items()) if value)
    return Judgement(
        Verdict.SUPERSEDED, f"{_subject(policy)}: another run took it over ({who}); it is left to that one"
    )


def _gone(policy: WatchPolicy, view: View) -> Judgement | None:
    if not view.gone:
        return None
    return Judgement(
        Verdict.LOST,
        f"{_subject(policy)}: it is not installed on the host any more, and no end of it is on record. "
        "Somebody removed it (supervisor-jobs down), or its folder there",
    )


def _expired(policy: WatchPolicy, view: View, now: float) -> Judgement | None:
    if not view.reachable:
        return None
    if policy.runtime is not None and view.running_s is not None and view.running_s >= policy.runtime:
        return Judgement(
            Verdict.EXPIRED, f"{_subject(policy)}: its runtime of {policy.runtime:g} s is over, as planned"
        )
    if policy.endtime is not None and now >= policy.endtime:
        return Judgement(Verdict.EXPIRED, f"{_subject(policy)}: its endtime has come, as planned")
    return None


def _timed_out(policy: WatchPolicy, view: View) -> Judgement | None:
    if policy.check_timeout is None or view.watched_s < policy.check_timeout:
        return None
    sight = "it still runs" if view.reachable else f"its host is out of sight ({view.error})"
    return Judgement(
        Verdict.TIMED_OUT, f"{_subject(policy)}: not over after check_timeout ({policy.check_timeout:g} s): {sight}"
    )


def _unreachable(policy: WatchPolicy, view: View) -> Judgement | None:
    if view.reachable:
        return None
    limit = policy.unreachable_timeout
    if view.refused_s is not None and view.refused_s >= policy.refused_timeout:
        final, what = True, f"the host has let nobody in for {policy.refused_timeout:g} s; the job is left alone"
    elif limit is not None and view.unreachable_s >= limit:
        what = f"the host is out of sight for longer than unreachable_timeout ({limit:g} s); the job is left alone"
        final = True
    else:
        final, what = False, "the host is out of sight"
    return Judgement(Verdict.UNREACHABLE, f"{_subject(policy)}: {what} ({view.error})", final=final)


def _subject(policy: WatchPolicy) -> str:
    return f"{policy.host}/{policy.job}"
