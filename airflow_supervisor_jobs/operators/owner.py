"""Whose job it is: the words by which a host tells the runs of several Airflows apart."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from airflow.sdk import Variable
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The Airflow variable that holds this Airflow's own id, made at the first need.
DEPLOYMENT_VARIABLE = "supervisor_jobs_deployment"


def deployment_id() -> str:
    """Return the id of this Airflow: ``[supervisor_jobs] deployment``, or a random one kept in its database.

    Every run pins what it got, so two tasks that make it at the same time do no harm.
    """
    if configured := conf.get("supervisor_jobs", "deployment", fallback=""):
        return str(configured)
    if known := Variable.get(DEPLOYMENT_VARIABLE, default=None):
        return str(known)
    made = uuid.uuid4().hex[:12]
    Variable.set(DEPLOYMENT_VARIABLE, made, description="Tells hosts of supervisor jobs which Airflow this is.")
    return made


def owner_of(context: Context, *, deployment: str) -> dict[str, str]:
    """Return the owner that the run of this task is."""
    ti, task = context["ti"], context["task"]
    group = task.task_group.group_id if task.task_group is not None else None
    return {
        "deployment": deployment,
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task": group or "",
        "map_index": str(ti.map_index if ti.map_index is not None else -1),
    }
