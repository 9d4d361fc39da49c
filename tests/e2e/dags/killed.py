"""Jobs whose tasks are killed or fail in turn, each after its effect."""

import os
import signal
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, get_parsing_context
from airflow.sdk.exceptions import AirflowFailException

from airflow_supervisor_jobs import SupervisorDAG

STEPS = (
    "configure_supervisord",
    "start_supervisord",
    "start_programs",
    "watch_programs",
    "restart_programs",
    "stop_programs",
    "stop_supervisord",
    "remove_configuration",
)


def die() -> None:
    """What kill -9 does to a worker, in the moment after the task's work and before anybody knows of it."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    """The task has done its work, and fails for good."""
    raise AirflowFailException("on purpose")


def spoil(task: BaseOperator, spoiling: Any) -> None:
    """The first try of the task does its work, and comes to a bad end."""
    execute = task.execute

    def execute_and_end_badly(context: Any) -> Any:
        first = context["ti"].try_number == 1
        try:
            return execute(context)
        finally:
            if first:
                spoiling()

    task.execute = execute_and_end_badly  # type: ignore[method-assign]


def job(**more: Any) -> dict[str, Any]:
    """What the YAML file of a job of short life would hold."""
    return {"defaults": [{"policy": "short_lived"}], "host": "here", **more}


#: Which tasks of which DAG come to a bad end.
SPOILED = {
    "every_task_killed": (STEPS, die),
    "fails_configure_supervisord": (STEPS[:1], fail),
    "fails_start_supervisord": (STEPS[1:2], fail),
    "fails_watch_programs": (STEPS[3:4], fail),
    "fails_teardowns": (STEPS[4:], fail),
}

wanted = get_parsing_context().dag_id
for dag_id, (steps, spoiling) in SPOILED.items():
    if wanted in (None, dag_id):
        made = SupervisorDAG(dag_id, job=job())
        for step in steps:
            spoil(made.task_dict[step], spoiling)
            made.task_dict[step].retry_delay = timedelta(seconds=1)
        globals()[dag_id] = made

if wanted in (None, "task_times_out"):
    task_times_out = SupervisorDAG("task_times_out", job={"defaults": [{"policy": "witnessed"}], "host": "here"})
    task_times_out.watch_programs.execution_timeout = timedelta(seconds=5)
