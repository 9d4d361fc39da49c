"""Whether the next run of the DAG is to be triggered after a verdict: the last rung of the restart ladder.

The runner's restarts in place and Airflow's own retries have been used up when this is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from airflow_supervisor_jobs.core.verdict import Verdict


class RestartAction(str, Enum):
    """What is to be done."""

    RESTART = "restart"
    LEAVE = "leave"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RestartDecision:
    """What is to be done, and why in words.

    :param count: the number of the restart that it orders, or of those there were.
    """

    action: RestartAction
    reason: str
    count: int


_WANTED = frozenset({Verdict.FAILED, Verdict.LOST})


def decide_restart(verdict: Verdict | None, *, count: int, maxretrigger: int) -> RestartDecision:
    """Return whether another run is to follow one that ended with ``verdict``.

    Only a job that ended badly by itself is restarted: not one that a person stopped, that was over by plan, that
    another run took over, or that runs on (``timed_out``, ``unreachable``: a second copy could come of it).

    :param verdict: None when the watch left none: it never looked, or somebody marked it.
    :param count: how many restarts led to this run.
    """
    if verdict not in _WANTED:
        said = f"the verdict {verdict} asks for no restart"
        if verdict is None:
            said = "the watch was ended before it came to a verdict, as by marking it: nothing is to be restarted"
        return RestartDecision(RestartAction.LEAVE, said, count)
    if count >= maxretrigger:
        used = "it is 0" if maxretrigger == 0 else f"all {maxretrigger} are used up"
        return RestartDecision(RestartAction.LEAVE, f"{verdict}, and maxretrigger allows no restart: {used}", count)
    return RestartDecision(RestartAction.RESTART, f"{verdict}: restart {count + 1} of {maxretrigger}", count + 1)
