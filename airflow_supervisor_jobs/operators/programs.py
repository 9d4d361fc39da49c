"""The job's programs: started in the beginning, restarted by another run, stopped in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException
from typing_extensions import override

from airflow_supervisor_jobs.core.restart import RestartAction, decide_restart
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.operators.base import (
    RESTARTED_KEY,
    SupervisorOperator,
    SupervisorTeardown,
    process_summary,
    recall,
    remember,
    verdict_of,
)
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import ask

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Under this key a run that goes on with the job of another finds what it inherits.
CONF_KEY = "supervisor_jobs"
#: The XCom of the moment that the job's ``runtime`` counts from, by the host's clock.
BEGAN_KEY = "began_at"
#: When this run took over programs that somebody else had started.
TAKEN_OVER_KEY = "taken_over"
#: Of a process: nothing of it runs.
_AT_REST = frozenset({"new", "ended", "lost"})
_ENDED_RUN = frozenset({"success", "failed"})


class StartProgramsOperator(SupervisorOperator):
    """All programs of the job run for this run of the DAG, or have ended and wait to be reported.

    What this run has started already is adopted: a second try never makes a second copy.
    """

    @override
    def perform(self, context: Context) -> list[dict[str, Any]]:
        """Return what became of each process."""
        pin = self.pinned(context)
        if not pin.stop_on_exit:
            self._tell_earlier_ends(pin)
        processes = ask_to_start(pin, self.log)
        context["ti"].xcom_push(key=BEGAN_KEY, value=self._began(pin, processes, context))
        return [process_summary(process) for process in processes]

    def _tell_earlier_ends(self, pin: Pin) -> None:
        """What outlived its run may have ended when nobody watched: that end is in this log at least."""
        for process in job_processes(pin):
            record = process["record"]
            if record is not None and record["final"] and process["owner"] != dict(pin.owner):
                how = (
                    f"signal {record['signal']}" if record["exit_code"] is None else f"exit code {record['exit_code']}"
                )
                self.log.info("%s: before, generation %s ended with %s", process["process"], record["generation"], how)

    def _began(self, pin: Pin, processes: list[dict[str, Any]], context: Context) -> float | None:
        """Return when this run has started the programs, or taken them over; another try, or a clear, begins no new."""
        ours: list[float] = [
            one["started_at"] for one in processes if one["owner"] == dict(pin.owner) and one["started_at"]
        ]
        if len(ours) == len(processes):
            return min(ours, default=None)
        taken = recall(context, TAKEN_OVER_KEY)
        if taken is None:
            taken = {"at": ask(pin.resolved_host(), "ping")["now"]}
            remember(context, TAKEN_OVER_KEY, taken)
        return min([*ours, float(taken["at"])])


class StopProgramsOperator(SupervisorTeardown):
    """No process of the job is left on the host, as far as it is still this run's job.

    With ``stop_on_exit: false`` that is so only if somebody ended the watch before it had come to a verdict.

    :param start_task_id: the task that started the programs.
    """

    verb = "stop"

    def __init__(self, *, start_task_id: str = "start_programs", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_task_id = start_task_id

    @override
    def reason_to_leave(self, pin: Pin, context: Context) -> str | None:
        reason = super().reason_to_leave(pin, context)
        if reason is not None or pin.stop_on_exit:
            return reason
        started = context["ti"].xcom_pull(task_ids=self.start_task_id) is not None
        if started and verdict_of(context, self.watch_task_id) is None:
            return None
        return "the job says stop_on_exit: false"

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

    Its id is made from this run's, so that it cannot come twice; it inherits the reference date, the moment that
    ``runtime`` counts from, and the params of this run.

    :param watch_task_id: the task that left the verdict.
    :param start_task_id: the task that started the programs.
    """

    def __init__(
        self, *, watch_task_id: str = "watch_programs", start_task_id: str = "start_programs", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.watch_task_id = watch_task_id
        self.start_task_id = start_task_id

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
        exists = bool(ti.get_dr_count(dag_id=ti.dag_id, run_ids=[run_id]))
        if exists and ti.get_dagrun_state(ti.dag_id, run_id) in _ENDED_RUN:
            raise AirflowSkipException(f"{decision.reason} was the run {run_id}, which is over: there is no second one")
        self.log.info("%s: the run %s", decision.reason, run_id)
        ti.xcom_push(key=RESTARTED_KEY, value=run_id)
        if exists:
            self.log.info("An earlier try of this task has triggered it")
            return
        conf = {**(context["dag_run"].conf or {})}
        conf[CONF_KEY] = {
            "count": decision.count,
            "reference_date": pin.reference_date,
            "started_at": began_at(pin, context, self.start_task_id),
            "restart_of": ti.run_id,
        }
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
    """Return what is worth an XCom of each process when the host was asked to start them for this run."""
    return [process_summary(process) for process in ask_to_start(pin, log)]


def ask_to_start(pin: Pin, log: Any) -> list[dict[str, Any]]:
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
    return list(answer["processes"])


def job_processes(pin: Pin) -> list[dict[str, Any]]:
    """Return the status of each of the job's processes; none if the host does not know the job.

    :raises HostUnreachable: the host is out of sight.
    """
    jobs = ask(pin.resolved_host(), "status", job=None)["jobs"]
    return [process for job in jobs if job["job"] == pin.job for process in job["processes"]]


def runs_on(pin: Pin) -> str | None:
    """Return why the job is to be left on its host, in words: it may outlive its run, and does."""
    if pin.stop_on_exit:
        return None
    try:
        alive = [one["process"] for one in job_processes(pin) if one["phase"] not in _AT_REST]
    except HostUnreachable as error:
        return f"the job says stop_on_exit: false, and whether it runs is not known ({error})"
    return f"the job says stop_on_exit: false, and {', '.join(alive)} runs" if alive else None


def began_at(pin: Pin, context: Context, start_task_id: str) -> float | None:
    """Return the moment that the job's ``runtime`` counts from, by the host's clock, as far as it is known.

    Where runs follow each other because of failures, it is that of the first one.
    """
    handed = pin.watch_policy.started_at
    began = handed if handed is not None else context["ti"].xcom_pull(task_ids=start_task_id, key=BEGAN_KEY)
    return None if began is None else float(began)


def inherited(context: Context) -> Mapping[str, Any]:
    """Return what the run that this one follows has handed on.

    A run that somebody made with the conf of such a one follows none.
    """
    run = context["dag_run"]
    handed = (run.conf or {}).get(CONF_KEY)
    if not isinstance(handed, Mapping) or not isinstance(handed.get("count"), int):
        return {}
    return handed if run.run_id == next_run_id(str(handed.get("restart_of")), handed["count"]) else {}


def next_run_id(run_id: str, count: int) -> str:
    """Return the id of the run that follows: the first run's with the number of the restart."""
    first = run_id.removesuffix(f"__restart_{count - 1}")
    return f"{first}__restart_{count}"
