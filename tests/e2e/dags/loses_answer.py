"""A job whose programs start, and whose start_programs never learns it."""

from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_supervisor_jobs import SupervisorDAG
from airflow_supervisor_jobs.operators.programs import StartProgramsOperator

dag = SupervisorDAG("start_loses_answer", job="loses_answer")
start: Any = dag.start_programs


def perform(context: Any) -> None:
    """The programs run, and the task fails."""
    (process,) = StartProgramsOperator.perform(start, context)
    context["ti"].xcom_push(key="pid", value=process["pid"])
    raise AirflowFailException("the answer was lost")


start.perform = perform
