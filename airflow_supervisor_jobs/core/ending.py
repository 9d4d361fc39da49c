"""What the end of one process means, in a verdict and in words."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf

from airflow_supervisor_jobs.core.status import EndReason, ExitRecord, Phase, ProcessStatus, StopReason, signal_name
from airflow_supervisor_jobs.core.verdict import Verdict

#: Seconds for which a stop may turn out to be the first half of a restart: ``supervisorctl restart`` is a stop
#: and a start, and ours holds the job's lock meanwhile.
TERMINATED_GRACE_S = 3.0
RESTART_GRACE_S = 60.0


@dataclass(frozen=True)
class End:
    """How a process ended."""

    process: str
    verdict: Verdict
    words: str
    at: float = inf
    exit_code: int | None = None
    signal: int | None = None
    log: str | None = None


def grace_of(status: ProcessStatus) -> float:
    """Return for how many seconds the end of a process may yet turn out to be a restart."""
    record = status.record
    if not status.has_ended:
        return 0.0
    if record is None:
        return TERMINATED_GRACE_S if status.state == "STOPPED" else 0.0
    if record.reason is EndReason.TERMINATED:
        return TERMINATED_GRACE_S
    if record.stop is not None and record.reason is EndReason.STOPPED and record.stop.reason is StopReason.RESTART:
        return RESTART_GRACE_S
    return 0.0


def end_of(
    status: ProcessStatus, *, exitcodes: Collection[int], skip_on_exit_code: Collection[int], seen_s: float
) -> End | None:
    """Return how the process ended, or None while it goes on or may yet be restarted.

    :param seen_s: age of our first sight of the end, in seconds.
    """
    if not status.has_ended or seen_s < grace_of(status):
        return None
    verdict, words = _read(status, exitcodes, skip_on_exit_code)
    return End(
        process=status.process,
        verdict=verdict,
        words=words + _restarts(status),
        at=inf if status.ended_at is None else status.ended_at,
        exit_code=status.exit_code,
        signal=status.signal,
        log=" and ".join(filter(None, (status.stdout, status.stderr))) or None,
    )


def _read(status: ProcessStatus, exitcodes: Collection[int], skips: Collection[int]) -> tuple[Verdict, str]:
    record = status.record
    if status.phase is Phase.LOST or (record is not None and record.reason is EndReason.LOST):
        known = record is not None and record.message
        return (
            Verdict.LOST,
            f"is gone and left no exit status: {known or 'its runner was killed, or the host went down'}",
        )
    if record is not None and record.reason in _REASONS:
        return _REASONS[record.reason](record)
    if record is None and status.state == "STOPPED":  # without a runner, supervisord is all there is to ask
        return Verdict.STOPPED, "was stopped"
    return _by_status(status, exitcodes, skips)


def _by_status(status: ProcessStatus, exitcodes: Collection[int], skips: Collection[int]) -> tuple[Verdict, str]:
    if status.signal is not None:
        return Verdict.FAILED, f"was killed by {signal_name(status.signal)}"
    if status.exit_code is None:
        return Verdict.LOST, f"has ended and left no exit status (supervisord says {status.state})"
    words = f"exited with {status.exit_code}"
    if status.exit_code in skips:
        return Verdict.SKIPPED, f"{words}, one of skip_on_exit_code"
    return (Verdict.FINISHED if status.exit_code in exitcodes else Verdict.FAILED), words


def _stopped(record: ExitRecord) -> tuple[Verdict, str]:
    stop = record.stop
    by = f" by {stop.by}" if stop is not None and stop.by else ""
    if stop is not None and stop.reason is StopReason.EXPIRED:
        return Verdict.EXPIRED, f"was stopped{by}: its time was over, as planned"
    if stop is not None and stop.reason is StopReason.RESTART:
        return Verdict.STOPPED, f"was stopped{by} for a restart, and did not come back"
    return Verdict.STOPPED, f"was stopped{by}"


def _terminated(_record: ExitRecord) -> tuple[Verdict, str]:
    return Verdict.STOPPED, "was stopped on the host, not by us (supervisorctl, or supervisord's own shutdown)"


def _could_not_start(record: ExitRecord) -> tuple[Verdict, str]:
    return Verdict.FAILED, f"could not start: {record.message or 'the host gave no reason'}"


def _hung(record: ExitRecord) -> tuple[Verdict, str]:
    return Verdict.FAILED, f"was ended by its watchdog: {record.message}"


def _lease_ended(record: ExitRecord) -> tuple[Verdict, str]:
    return Verdict.STOPPED, f"was ended by its host: {record.message}"


_REASONS: dict[EndReason, Callable[[ExitRecord], tuple[Verdict, str]]] = {
    EndReason.STOPPED: _stopped,
    EndReason.TERMINATED: _terminated,
    EndReason.COULD_NOT_START: _could_not_start,
    EndReason.HUNG: _hung,
    EndReason.LEASE_ENDED: _lease_ended,
}


def _restarts(status: ProcessStatus) -> str:
    if not status.restarts:
        return ""
    return f" after {status.restarts} restart{'s' if status.restarts > 1 else ''}"
