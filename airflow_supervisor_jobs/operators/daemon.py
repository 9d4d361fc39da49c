"""supervisord itself: brought up for the job, and ended when no other job needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from airflow_supervisor_jobs.operators.base import SupervisorOperator, SupervisorTeardown
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
        return super().reason_to_leave(pin, context) or next_run_needs_it(self.restarted(context))

    @override
    def summary(self, result: Any) -> Any:
        if result["stopped"]:
            self.log.info("supervisord has stopped")
        else:
            self.log.info("supervisord goes on, for %s", ", ".join(result["held_by"]) or "others")
        return super().summary(result)


class RemoveConfigurationOperator(SupervisorTeardown):
    """The host no longer knows the job; its logs and exit records stay unless ``cleanup`` is set."""

    verb = "remove"

    @override
    def reason_to_leave(self, pin: Pin, context: Context) -> str | None:
        return super().reason_to_leave(pin, context) or next_run_needs_it(self.restarted(context))

    @override
    def request(self, pin: Pin, context: Context) -> dict[str, Any]:
        return {**super().request(pin, context), "purge": pin.cleanup}


def next_run_needs_it(run_id: str | None) -> str | None:
    """Return the words for leaving things to the run that goes on with the job."""
    return None if run_id is None else f"the run {run_id} goes on with the job"
