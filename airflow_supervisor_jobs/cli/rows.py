"""A process as the command line shows it."""

from __future__ import annotations

from typing import Any

from airflow_supervisor_jobs.core.status import EndReason, Phase, ProcessStatus, signal_name

#: The columns of the tables, of all that a row has.
COLUMNS = ("job", "host", "process", "state", "pid", "generation", "exit", "started_at", "ended_at", "restarts")


def row_of(status: ProcessStatus, *, host: str, **more: Any) -> dict[str, Any]:
    """Return all there is to say of a process; names and times (seconds since the epoch) as in the protocol."""
    record = status.record
    return {
        "job": status.job,
        "host": host,
        "program": status.program,
        "process": status.process,
        "group": status.group,
        "state": status.statename,
        "phase": status.phase.value,
        "pid": status.pid,
        "generation": status.generation,
        "exit_code": status.exit_code,
        "signal": status.signal,
        "exit": exit_of(status),
        "reason": record.reason.value if record else None,
        "stopped_by": record.stop.by if record and record.stop else None,
        "started_at": status.started_at,
        "ended_at": status.ended_at,
        "restarts": status.restarts,
        "owner": status.owner,
        "stdout": status.stdout,
        "stderr": status.stderr,
        "error": None,
        **more,
    }


def blank_row(*, job: str, host: str, program: str, process: str, state: str, error: str | None) -> dict[str, Any]:
    """Return the row of a process of which nothing is known, and why."""
    known = {"job": job, "host": host, "program": program, "process": process, "state": state, "error": error}
    return {**dict.fromkeys(row_of(_NOBODY, host="")), **known}


def exit_of(status: ProcessStatus) -> str | None:
    """Return ``3``, ``SIGKILL (9)``, ``lost`` or None while it has not ended."""
    if status.signal is not None:
        return signal_name(status.signal)
    if status.exit_code is not None:
        return str(status.exit_code)
    record = status.record
    return "lost" if status.phase is Phase.LOST or (record and record.reason is EndReason.LOST) else None


_NOBODY = ProcessStatus.model_validate({"job": "", "program": "", "process": "", "phase": "new"})
