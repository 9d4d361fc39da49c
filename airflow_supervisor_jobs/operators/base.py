"""What all tasks of a job share: the run's pin, and asking the host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from typing_extensions import override

from airflow_supervisor_jobs.exceptions import AgentError, ConfigError, HostRefused, HostUnreachable, JobBusy
from airflow_supervisor_jobs.operators.ending import Ending, task_identity
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import ask
from airflow_supervisor_jobs.triggers.request import SupervisorRequestTrigger
from airflow_supervisor_jobs.triggers.states import KILLED

if TYPE_CHECKING:
    from airflow.sdk import Context

VERDICT_KEY = "verdict"
RESTARTED_KEY = "restarted_by"


class SupervisorOperator(BaseOperator):
    """A step of a job on its host.

    :param configure_task_id: the task whose XCom is the run's pin.
    """

    ui_color = "#e8f3ec"

    def __init__(self, *, configure_task_id: str = "configure_supervisord", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.configure_task_id = configure_task_id
        self._executing: Context | None = None
        self._ending: Ending | None = None

    @override
    def execute(self, context: Context) -> Any:
        """Return what :meth:`perform` does; what no retry can mend is not retried."""
        self._executing = context
        try:
            return self.perform(context)
        except (ConfigError, HostRefused, JobBusy) as error:
            raise AirflowFailException(str(error)) from error
        finally:
            if self._ending is not None:
                self._ending.join()

    @override
    def on_kill(self) -> None:
        """The programs are told to stop, if Airflow confirms that the task has failed or was skipped.

        After ``dagrun_timeout`` there is no teardown to do it.
        """
        if self._executing is not None and self._ending is None:
            pin = partial(pull_pin, self._executing, self.configure_task_id)
            self._ending = Ending(pin, task_identity(self._executing), self.log, ends=KILLED - {"success"})
            self._ending.start()

    @abstractmethod
    def perform(self, context: Context) -> Any:
        """Do the step; a second time does no harm."""

    def pinned(self, context: Context) -> Pin:
        """Return what ``configure_supervisord`` has resolved for this run.

        :raises AirflowException: it has not run.
        """
        return pull_pin(context, self.configure_task_id)


class SupervisorTeardown(SupervisorOperator):
    """A step that has to happen in the end: an outage of the host delays it, in the triggerer, without a worker.

    :param watch_task_id: the task that left the verdict.
    :param restart_task_id: the task that may have triggered the next run, or None.
    """

    verb: str

    def __init__(
        self, *, watch_task_id: str = "watch_programs", restart_task_id: str | None = "restart_programs", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.watch_task_id = watch_task_id
        self.restart_task_id = restart_task_id

    @override
    def perform(self, context: Context) -> Any:
        """The host has done it, or somebody else owns the job now, or a trigger goes on asking."""
        pin = self.pinned(context)
        if reason := self.reason_to_leave(pin, context):
            self.log.info("Nothing to do: %s", reason)
            return None
        params = self.request(pin, context)
        try:
            answer = {"result": ask(pin.resolved_host(), self.verb, **params)}
        except HostUnreachable as error:
            self.log.warning("%s; a trigger goes on asking", error)
            trigger = SupervisorRequestTrigger(host=pin.host, verb=self.verb, params=params)
            self.defer(trigger=trigger, method_name="answered")
        except AgentError as error:
            answer = {"error": {"code": error.code, "message": str(error)}}
        return self.answered(context, answer)

    def answered(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Return what the host answered; that the job belongs to another owner, or is gone, is as good."""
        del context
        if error := event.get("error"):
            if error["code"] not in {"not_owner", "not_installed"}:
                raise AirflowException(error["message"])
            self.log.info("Nothing to do: %s", error["message"])
            return None
        return self.summary(event["result"])

    def reason_to_leave(self, pin: Pin, context: Context) -> str | None:
        """Return why nothing is to be done on the host, or None."""
        del pin
        if verdict_of(context, self.watch_task_id) == "unreachable":
            return "the host was given up as unreachable, what runs there is left alone"
        return None

    def restarted(self, context: Context) -> str | None:
        """Return the run that goes on with the job, if one was triggered."""
        if self.restart_task_id is None:
            return None
        run_id = context["ti"].xcom_pull(task_ids=self.restart_task_id, key=RESTARTED_KEY)
        return None if run_id is None else str(run_id)

    def request(self, pin: Pin, context: Context) -> dict[str, Any]:
        """Return the parameters of the verb."""
        del context
        return {"job": pin.job, "owner": dict(pin.owner)}

    def summary(self, result: Mapping[str, Any]) -> Any:
        """Return what is worth an XCom."""
        return dict(result)


def pull_pin(context: Context, task_id: str) -> Pin:
    """Return the pin that the task ``task_id`` of this run has left.

    :raises AirflowException: it has left none.
    """
    document = context["ti"].xcom_pull(task_ids=task_id)
    if document is None:
        raise AirflowException(f"the task {task_id} of this run has left nothing to go by: clear it, so that it runs")
    return Pin.from_dict(document)


def verdict_of(context: Context, task_id: str) -> str | None:
    """Return the verdict that the watch has left, or None."""
    verdict = context["ti"].xcom_pull(task_ids=task_id, key=VERDICT_KEY)
    return None if verdict is None else str(verdict)


def process_summary(process: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth an XCom of one process of a start or stop."""
    keys = ("process", "action", "state", "pid", "generation", "exit_code", "signal", "started_at", "ended_at")
    return {key: process.get(key) for key in keys}


def recall(context: Context, key: str) -> dict[str, Any] | None:
    """Return what :func:`remember` kept for this task, by an earlier try or before a clear, or None."""
    value = context["task_state_store"].get(key)
    return value if isinstance(value, dict) else None


def remember(context: Context, key: str, value: dict[str, Any]) -> None:
    """The document outlives this try of the task, a clear, and any number of days."""
    context["task_state_store"].set(key, value, retention=NEVER_EXPIRE)
