"""Jobs that fall and are started again, that outlive their run, and that have tasks of somebody's own around them."""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, TriggerRule, get_current_context, get_parsing_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, DagRunTriggerException
from airflow.sdk.execution_time.comms import TriggerDagRun

from airflow_supervisor_jobs import SupervisorDAG
from airflow_supervisor_jobs.operators.programs import RestartProgramsOperator

LEDGERS = os.environ["E2E_LEDGERS"]
SCRIPTED = f"{os.environ['E2E_PYTHON']} -S {os.environ['E2E_PROGRAM']} --ledger {LEDGERS}/{{{{ dag.dag_id }}}}.jsonl"


def climbs() -> SupervisorDAG:
    """A job that always fails, on a ladder of two steps on each rung; whoever asks for the next run dies of it."""
    dag = SupervisorDAG(
        "climbs",
        job={
            "command": f"{SCRIPTED} --exit-code 4",
            "host": "here",
            "autorestart": "unexpected",
            "restart": {"attempts": 1, "delay": 0},
            "retries": 1,
            "retry_delay": 1,
            "maxretrigger": 1,
        },
    )
    restart: Any = dag.restart_programs
    restart.retry_delay = timedelta(seconds=1)
    restart.perform = trigger_and_lose_the_answer(restart)
    return dag


def trigger_and_lose_the_answer(restart: RestartProgramsOperator) -> Any:
    """The task's first try has triggered the next run, and fails before it can say so."""

    def perform(context: Any) -> None:
        try:
            RestartProgramsOperator.perform(restart, context)
        except DagRunTriggerException as asked:
            if context["ti"].try_number > 1:
                raise
            from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

            SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=asked.trigger_dag_id, run_id=asked.dag_run_id, conf=asked.conf))
            raise AirflowException("the answer was lost") from asked

    return perform


def last_try() -> SupervisorDAG:
    """A job that fails once, and then takes its time."""
    mark = f"{LEDGERS}/last_try.mark"
    command = f'test -e "{mark}" || {{ touch "{mark}"; exit 5; }}; {SCRIPTED} --run-for 5'
    return SupervisorDAG("last_try", job={"command": command, "shell": True, "host": "here", "maxretrigger": 1})


def outlives() -> SupervisorDAG:
    """A job whose run is over after a second, and that ends when it is told."""
    command = f'until test -e "{LEDGERS}/outlives.go"; do sleep 0.2; done; echo told; exit 7'
    job = {"command": command, "shell": True, "host": "here", "runtime": 1, "stop_on_exit": False}
    return SupervisorDAG("outlives", job=job)


def hooked(dag_id: str, *, exit_code: int) -> SupervisorDAG:
    """A job with tasks before and after it, and one in place of the restart; none of them fails."""
    with SupervisorDAG(dag_id, job={"command": ["sh", "-c", f"exit {exit_code}"], "host": "here"}) as dag:

        @task
        def before() -> None: ...

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def after() -> None: ...

        @task(trigger_rule=TriggerRule.ONE_FAILED)
        def instead() -> str:
            """Return the verdict: all that a restart of one's own has to go by."""
            return str(get_current_context()["ti"].xcom_pull(task_ids="watch_programs", key="verdict"))

        before() >> dag.configure_supervisord
        dag.watch_programs >> [after(), instead()] >> dag.restart_programs
    return dag


def begins_badly() -> SupervisorDAG:
    """A job that waits for a task that fails."""
    with SupervisorDAG("begins_badly", job={"command": "sleep 607", "host": "here"}) as dag:

        @task
        def before() -> None:
            raise AirflowFailException("on purpose")

        before() >> dag.configure_supervisord
    return dag


def by_asset() -> SupervisorDAG:
    """A job that an asset begins, that has an end of the day, and that leaves nothing behind."""
    job = {"command": "echo {{ run_id }}", "host": "here", "endtime": "04:00", "cleanup": "always"}
    return SupervisorDAG("by_asset", job=job, schedule=[Asset("e2e_ladder")])


MAKERS: dict[str, Any] = {
    "climbs": climbs,
    "last_try": last_try,
    "outlives": outlives,
    "hooked_badly": lambda: hooked("hooked_badly", exit_code=3),
    "hooked_well": lambda: hooked("hooked_well", exit_code=0),
    "begins_badly": begins_badly,
    "by_asset": by_asset,
}
wanted = get_parsing_context().dag_id
for name, make in MAKERS.items():
    if wanted in (None, name):
        globals()[name] = make()
