"""The job's programs: started in the beginning, restarted by another run, stopped in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException
from typing_extensions import override

from airflow_supervisor_jobs.core.restart import RestartAction, decide_restart
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.operators.base import (
    RESTARTED_KEY,
    SupervisorOperator,
    SupervisorTeardown,
    process_summary,
    verdict_of,
)
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import ask

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Under this key a run that goes on with the job of another finds what it inherits.
CONF_KEY = "supervisor_jobs"


class StartProgramsOperator(SupervisorOperator):
    """All programs of the job run for this run of the DAG, or have ended and wait to be reported.

    What this run has started already is adopted: a second try never makes a second copy.
    """

    @override
    def perform(self, context: Context) -> list[dict[str, Any]]:
        """Return what became of each process."""
        return start_programs(self.pinned(context), self.log)


class StopProgramsOperator(SupervisorTeardown):
    """No process of the job is left on the host, as far as it is still this run's job."""

    verb = "stop"

    @override
    def request(self, pin: Pin, context: Context) -> dict[str, Any]:
        verdict = verdict_of(context, self.watch_task_id)
        reasons = {None: "killed", Verdict.EXPIRED.value: "expired"}
        by = f"airflow: {context['ti'].dag_id}/{context['ti'].run_id}: {self.task_id}"
        return {
            **super().request(pin, context),
            "programs": None,
            "by": by,
            "reason": reasons.get(verdict, "stopped"),
        }

    @override
    def summary(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        for process in result["processes"]:
            log = self.log.warning if process.get("survivors") else self.log.info
            log("%s: %s, survivors: %s", process["process"], process["action"], process.get("survivors") or "none")
        return [process_summary(process) for process in result["processes"]]


class RestartProgramsOperator(SupervisorOperator):
    """The next run of the DAG exists, if the job failed by itself and its ``maxretrigger`` allows one more.

    Its id is made from this run's, so that it cannot come twice; it inherits the reference date.
    """

    def __init__(self, *, watch_task_id: str = "watch_programs", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watch_task_id = watch_task_id

    @override
    def perform(self, context: Context) -> None:
        """The run is asked for, or the task skips itself and says why."""
        pin, ti = self.pinned(context), context["ti"]
        said = verdict_of(context, self.watch_task_id)
        decision = decide_restart(
            None if said is None else Verdict(said),
            count=int(inherited(context).get("count", 0)),
            maxretrigger=pin.maxretrigger,
        )
        if decision.action is RestartAction.LEAVE:
            raise AirflowSkipException(decision.reason)
        run_id = next_run_id(ti.run_id, decision.count)
        self.log.info("%s: the run %s", decision.reason, run_id)
        ti.xcom_push(key=RESTARTED_KEY, value=run_id)
        if ti.get_dr_count(dag_id=ti.dag_id, run_ids=[run_id]):
            self.log.info("An earlier try of this task has triggered it")
            return
        conf = {**(context["dag_run"].conf or {})}
        conf[CONF_KEY] = {"count": decision.count, "reference_date": pin.reference_date, "restart_of": ti.run_id}
        raise DagRunTriggerException(
            trigger_dag_id=ti.dag_id,
            dag_run_id=run_id,
            conf=conf,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=60,
            deferrable=False,
        )


def start_programs(pin: Pin, log: Any) -> list[dict[str, Any]]:
    """Return what became of each process when the host was asked to start them for this run."""
    answer = ask(
        pin.resolved_host(),
        "start",
        job=pin.job,
        owner=dict(pin.owner),
        programs=None,
        if_running=pin.if_running,
    )
    for process in answer["processes"]:
        pid = "" if process["pid"] is None else f", pid {process['pid']}"
        log.info("%s: %s%s (generation %s)", process["process"], process["action"], pid, process["generation"])
    return [process_summary(process) for process in answer["processes"]]


def inherited(context: Context) -> Mapping[str, Any]:
    """Return what the run that this one follows has handed on."""
    conf = context["dag_run"].conf or {}
    handed = conf.get(CONF_KEY)
    return handed if isinstance(handed, Mapping) else {}


def next_run_id(run_id: str, count: int) -> str:
    """Return the id of the run that follows: the first run's with the number of the restart."""
    first = run_id.removesuffix(f"__restart_{count - 1}")
    return f"{first}__restart_{count}"
