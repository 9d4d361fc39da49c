"""Whether all of it is as it must be."""

from __future__ import annotations

from dataclasses import dataclass

from demo.show import STEPS, Run, noticed_after

#: Far more than it takes: a busy machine, not a slow watch, comes near it.
LONGEST_NOTICE = 5.0


@dataclass(frozen=True)
class Expected:
    """How a job of the demo has to end.

    :param codes: exit code by process.
    :param said: what its watch's log has to contain.
    """

    run: str
    watch: str
    codes: dict[str, int]
    said: tuple[str, ...]


def faults(run: Run, expected: Expected) -> list[str]:
    """Return what is not as it must be, in words."""
    found = []
    states = {step: str(run.tasks[step]["state"]) for step in STEPS}
    wanted = dict.fromkeys(STEPS, "success") | {"watch_programs": expected.watch, "restart_programs": "skipped"}
    if run.state != expected.run:
        found.append(f"the run is {run.state}, not {expected.run}")
    found += [f"{step} is {states[step]}, not {wanted[step]}" for step in STEPS if states[step] != wanted[step]]
    codes = {name: record["exit_code"] for name, record in run.records.items()}
    if codes != expected.codes:
        found.append(f"the exit codes are {codes}, not {expected.codes}")
    log = "\n".join(run.log)
    found += [f"the watch's log does not say {text!r}" for text in expected.said if text not in log]
    found += [f"{name}'s end was noticed late" for name, record in run.records.items() if not _in_time(record)]
    return [f"{run.job}: {fault}" for fault in found]


def _in_time(record: dict[str, float]) -> bool:
    return record["ended_at"] is not None and noticed_after(record) < LONGEST_NOTICE
