"""What Airflow itself says about a task: asked before anything is killed because of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from airflow.sdk.execution_time.comms import DRCount, GetDRCount, GetTaskStates, TaskStatesResult

from airflow_supervisor_jobs.triggers.pin import Pin

#: A user, or the run's end, has ended the task. Anything else (deferred still, cleared, given to
#: another triggerer) is no reason to end a job.
KILLED = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})

Send = Callable[[Any], Awaitable[Any]]


async def was_killed(task: Mapping[str, Any]) -> bool:
    """Return whether the task (``dag_id, run_id, task_id, map_index``) is over for Airflow.

    Works where a trigger runs.
    """
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    return await is_over(task, SUPERVISOR_COMMS.asend)


def was_killed_here(task: Mapping[str, Any], *, ends: Collection[str] = KILLED) -> bool:
    """Return the same in a worker, from any thread.

    :raises AirflowRuntimeError: the API server does not say.
    """
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    async def send(message: Any) -> Any:
        return SUPERVISOR_COMMS.send(message)

    return asyncio.run(is_over(task, send, ends=ends))


async def is_over(task: Mapping[str, Any], send: Send, *, ends: Collection[str] = KILLED) -> bool:
    """Return whether the task is in one of the states, or has been deleted with its run.

    A task that is missing from a run that exists (a clean-up of the database took it) was not ended by anybody.
    """
    run = {"dag_id": task["dag_id"], "run_ids": [task["run_id"]]}
    answer = await send(GetTaskStates(**run, task_ids=[task["task_id"]], map_index=task["map_index"]))
    if not isinstance(answer, TaskStatesResult):
        return False
    if is_known(answer.task_states, task):
        return task_state(answer.task_states, task) in ends
    runs = await send(GetDRCount(**run))
    return isinstance(runs, DRCount) and runs.count == 0


def is_known(states: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
    """Return whether the task is in Airflow's answer, in whatever state."""
    return _key(states, task) is not None


def task_state(states: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    """Return the state of the task in Airflow's answer, or None."""
    key = _key(states, task)
    state = None if key is None else states[task["run_id"]][key]
    return None if state is None else str(getattr(state, "value", state))


def stop_request(pin: Pin, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the ``stop`` that the end of the task asks for."""
    by = f"airflow: {task['dag_id']}/{task['run_id']}: {task['task_id']} was ended"
    return {"job": pin.job, "owner": dict(pin.owner), "programs": None, "by": by, "reason": "killed"}


def _key(states: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    of_run = states.get(task["run_id"]) or {}
    keys = (f"{task['task_id']}_{task['map_index']}", task["task_id"])
    return next((key for key in keys if key in of_run), None)
