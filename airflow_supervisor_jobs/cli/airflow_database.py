"""What Airflow's own database says about runs, where this machine has one. Only this module imports Airflow here."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow_supervisor_jobs.core.orphans import CONFIGURE_TASK, UNFINISHED, HeldJob, Run, RunState, WatchTask
from airflow_supervisor_jobs.exceptions import HostRefused, SupervisorJobsError
from airflow_supervisor_jobs.hosts.connection import ConnectionLike

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: The Airflow variable that holds this Airflow's own id.
_DEPLOYMENT_VARIABLE = "supervisor_jobs_deployment"
_CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
#: What Airflow calls the watch of a job.
_WATCH = "SupervisorProgramsSensor"
_OVER = frozenset({"success", "failed"})


class AirflowNotAsked(SupervisorJobsError):
    """There is no Airflow here that could be asked."""


class AirflowDatabase:
    """The Airflow of this machine, asked in its database.

    :raises AirflowNotAsked: none is set up here, its database does not answer, or no job has ever run in it.
    """

    def __init__(self) -> None:
        if not _is_set_up(os.environ):
            raise AirflowNotAsked(
                "no Airflow is set up here. Run it where the scheduler runs, with its AIRFLOW_HOME or its AIRFLOW__*"
            )
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with _quietly():
                # Asked once now, so that a database that does not answer is known before any host is asked.
                self.state_of(Run("", ""))
                self.deployment = _deployment()
        except SQLAlchemyError as error:
            words = str(error).splitlines()[0]
            raise AirflowNotAsked(
                f"Airflow's database does not answer as one ({words}). See airflow db check"
            ) from error

    def state_of(self, run: Run) -> RunState:
        """Return what the database says of a run now."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(DagRun.state).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)
        with create_session(scoped=False) as session:
            state = session.scalar(query)
        if state is None:
            return RunState.UNKNOWN
        return RunState.OVER if str(getattr(state, "value", state)) in _OVER else RunState.ACTIVE

    def watches(self, held: Sequence[HeldJob]) -> list[WatchTask]:
        """Return the tasks that wait for a job's end now, with what their runs have pinned."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        del held
        query = select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index).where(
            TaskInstance.operator == _WATCH, TaskInstance.state.in_(UNFINISHED)
        )
        with create_session(scoped=False) as session:
            waiting = [(*row, _pin(session, *row)) for row in session.execute(query)]
        return [WatchTask(Run(dag_id, run_id), task_id, pin) for dag_id, run_id, task_id, _, pin in waiting if pin]

    def connection(self, conn_id: str) -> ConnectionLike:
        """Return one of its connections, from wherever it keeps them.

        :raises HostRefused: there is none of that name.
        """
        from airflow.models.connection import Connection
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            with _quietly():
                return cast("ConnectionLike", Connection.get_connection_from_secrets(conn_id))
        except AirflowNotFoundException as error:
            raise HostRefused(f"there is no connection {conn_id!r} in Airflow. Define it.") from error


def _pin(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """Return what the configuring task in the group of a watch has left, or None."""
    from airflow.models.xcom import XComModel

    configure = task_id.removesuffix(task_id.rpartition(".")[2]) + CONFIGURE_TASK
    query = XComModel.get_many(
        run_id=run_id, key="return_value", task_ids=configure, dag_ids=dag_id, map_indexes=map_index, limit=1
    )
    found = session.scalars(query).first()
    return None if found is None else XComModel.deserialize_value(found)


def _deployment() -> str:
    from airflow.configuration import conf
    from airflow.models.variable import Variable

    known = conf.get("supervisor_jobs", "deployment", fallback="") or Variable.get(
        _DEPLOYMENT_VARIABLE, default_var=None
    )
    if not known:
        raise AirflowNotAsked("no job has run in the Airflow that is set up here: it has no deployment id yet")
    return str(known)


@contextmanager
def _quietly() -> Iterator[None]:
    """Airflow, when it is imported, has every logger write to standard output, which is for results."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _is_set_up(environ: Mapping[str, str]) -> bool:
    """Importing Airflow where there is none would make one."""
    if any(name.startswith(_CONNECTION) for name in environ):
        return True
    config = environ.get("AIRFLOW_CONFIG") or Path(environ.get("AIRFLOW_HOME", "~/airflow")) / "airflow.cfg"
    return Path(config).expanduser().is_file()
