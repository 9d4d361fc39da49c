"""supervisord itself: brought up for the job, and ended when no other job needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from airflow_supervisor_jobs.core.verdict import Judgement, Outcome, Verdict
from airflow_supervisor_jobs.operators.base import SupervisorOperator, SupervisorTeardown, verdict_of
from airflow_supervisor_jobs.operators.programs import runs_on
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import ask

if TYPE_CHECKING:
    from airflow.sdk import Context


class StartSupervisordOperator(SupervisorOperator):
    """supervisord lives on the job's host, and answers."""

    @override
    def perform(self, context: Context) -> dict[str, Any]:
        """Return its pid and whether it had to be started."""
        pin = self.pinned(context)
        answer = ask(pin.resolved_host(), "start_supervisord", job=pin.job)
        self.log.info("supervisord %s (pid %s)", "started" if answer["started"] else "was running", answer["pid"])
        return answer


class StopSupervisordOperator(SupervisorTeardown):
    """The job needs supervisord no longer; it has stopped, unless another job needs it."""

    verb = "stop_supervisord"

    @override
    def reason_to_leave(self, pin: Pin, context: Context) -> str | None:
        reason = super().reason_to_leave(pin, context) or next_run_needs_it(self.restarted(context))
        return reason or runs_on(pin)

    @override
    def summary(self, result: Any) -> Any:
        if result["stopped"]:
            self.log.info("supervisord has stopped")
        else:
            self.log.info("supervisord goes on, for %s", ", ".join(result["held_by"]) or "others")
        return super().summary(result)


class RemoveConfigurationOperator(SupervisorTeardown):
    """The host no longer knows the job; whether its logs and exit records stay, ``cleanup`` says."""

    verb = "remove"

    @override
    def reason_to_leave(self, pin: Pin, context: Context) -> str | None:
        reason = super().reason_to_leave(pin, context) or next_run_needs_it(self.restarted(context))
        return reason or runs_on(pin)

    @override
    def request(self, pin: Pin, context: Context) -> dict[str, Any]:
        verdict = verdict_of(context, self.watch_task_id)
        succeeded = verdict is not None and _outcome(verdict, pin) is Outcome.SUCCESS
        return {**super().request(pin, context), "purge": pin.purges(succeeded=succeeded)}


def _outcome(verdict: str, pin: Pin) -> Outcome | None:
    return Judgement(Verdict(verdict), "").outcome(on_expire=pin.watch_policy.on_expire)


def next_run_needs_it(run_id: str | None) -> str | None:
    """Return the words for leaving things to the run that goes on with the job."""
    return None if run_id is None else f"the run {run_id} goes on with the job"
