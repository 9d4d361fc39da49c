"""What Airflow itself says about a task: asked before anything is killed because of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult

#: A user, or the run's end, has ended the task. Anything else (deferred still, cleared, given to
#: another triggerer) is no reason to end a job.
KILLED = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})


async def was_killed(task: Mapping[str, Any]) -> bool:
    """Return whether the task (``dag_id, run_id, task_id, map_index``) is over for Airflow.

    Works where a trigger runs.
    """
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = await SUPERVISOR_COMMS.asend(
        GetTaskStates(
            dag_id=task["dag_id"],
            run_ids=[task["run_id"]],
            task_ids=[task["task_id"]],
            map_index=task["map_index"],
        )
    )
    if not isinstance(answer, TaskStatesResult):
        return False
    return task_state(answer.task_states, task) in KILLED


def task_state(states: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    """Return the state of the task in Airflow's answer, or None."""
    of_run = states.get(task["run_id"]) or {}
    mapped = f"{task['task_id']}_{task['map_index']}"
    state = of_run.get(mapped, of_run.get(task["task_id"]))
    return None if state is None else str(getattr(state, "value", state))
