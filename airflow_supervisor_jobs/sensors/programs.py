"""The watch as a task: in the triggerer by default, in a worker where the triggerer cannot reach the host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from typing_extensions import override

from airflow_supervisor_jobs.core.verdict import Judgement, Outcome, Verdict
from airflow_supervisor_jobs.exceptions import ConfigError, HostRefused
from airflow_supervisor_jobs.hosts.watch import Concluded, watch
from airflow_supervisor_jobs.operators.base import VERDICT_KEY, pull_pin, recall, remember
from airflow_supervisor_jobs.operators.ending import Ending, task_identity
from airflow_supervisor_jobs.operators.programs import began_at, start_programs
from airflow_supervisor_jobs.triggers.journal import Journal
from airflow_supervisor_jobs.triggers.masks import mask_secrets
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.programs import CONSUMER, SupervisorProgramsTrigger, watch_target
from airflow_supervisor_jobs.triggers.reach import ask, worker_pipes
from airflow_supervisor_jobs.triggers.settle import SETTLE_S

if TYPE_CHECKING:
    from airflow.sdk import Context

#: How the sensor's last watch ended: what a further try goes by.
CONCLUDED_KEY = "concluded"
#: When the sensor began to watch, per try: a rescheduled sensor is a new process each time.
BEGUN_KEY = "watched_from"

#: After these a further try makes sense. A job that was stopped by a person, or is over, is not started again.
_RETRIED = frozenset({Verdict.FAILED, Verdict.LOST, Verdict.UNREACHABLE})
_YEARS = 100 * 365 * 86400.0

#: Tries that a watch has beyond those that start the job anew: for workers and API servers that are lost.
SPARE_TRIES = 3


class SupervisorProgramsSensor(BaseSensorOperator):
    """Ends when the job does, and as the job did; its log has the programs' lines while they run.

    Deferrable (the default), it holds no worker slot. ``mode="reschedule"`` and ``mode="poke"`` with
    ``deferrable=False`` look from a worker every ``poke_interval``, the former every five seconds at most.
    Time limits are the job's own (``check_timeout``, ``runtime``, ``endtime``, ``unreachable_timeout``);
    ``execution_timeout`` and ``timeout`` count like ``check_timeout``, from the beginning of this try, deferred or not.

    ``retries`` are for the job: so often it is started anew when it has failed. The task itself has
    :data:`SPARE_TRIES` more, for a worker or an API server that is lost: such a try finds the running programs.

    :param configure_task_id: the task whose XCom is the run's pin.
    :param start_task_id: the task that started the programs.
    """

    ui_color = "#dcebf7"

    def __init__(
        self,
        *,
        configure_task_id: str = "configure_supervisord",
        start_task_id: str = "start_programs",
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("timeout", _YEARS)  # Airflow's own default would end a job that runs for months
        super().__init__(**kwargs)
        self.configure_task_id = configure_task_id
        self.start_task_id = start_task_id
        self.deferrable = deferrable
        if self.reschedule:  # the scheduler has to know that the look before has ended
            self.poke_interval = max(self.poke_interval, SETTLE_S)
        self.restarts = self.retries or 0
        self.retries = self.restarts + SPARE_TRIES
        self._executing: Context | None = None
        self._ending: Ending | None = None

    @override
    def execute(self, context: Context) -> Any:
        """Wait for the verdict, and end as it says."""
        self._executing = context
        try:
            pin = pull_pin(context, self.configure_task_id)
            self._start_anew(pin, context)
            return self._defer(pin, context) if self.deferrable else super().execute(context)
        except (ConfigError, HostRefused, AirflowTaskTimeout) as error:
            raise AirflowFailException(str(error)) from error

    @override
    def poke(self, context: Context) -> PokeReturnValue:
        """Log what is new, and return the end if there is one."""
        self._leave_if_told()
        pin = self._watching(pull_pin(context, self.configure_task_id), context)
        journal = asyncio.run(self._look(pin))
        if journal.judgement is not None:
            return PokeReturnValue(is_done=True, xcom_value=self.conclude(context, journal.event()))
        begun = recall(context, BEGUN_KEY) or {}
        outage = {"unreachable_from": journal.unreachable_from, "refused_from": journal.refused_from}
        remember(context, BEGUN_KEY, {**begun, **outage})
        return PokeReturnValue(is_done=False)

    def conclude(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the exit records if the job ended well.

        :raises AirflowSkipException: its end means: skipped.
        :raises AirflowException: it failed; a retry starts it anew.
        :raises AirflowFailException: it failed, and a retry would not do.
        """
        judgement, records = Judgement.from_dict(event["judgement"]), dict(event["records"])
        pin = pull_pin(context, self.configure_task_id)
        generations = {name: record["generation"] for name, record in records.items() if record["ended_at"]}
        concluded = self._concluded(context, generations)
        again = judgement.verdict in _RETRIED and concluded["failures"] <= self.restarts
        remember(context, CONCLUDED_KEY, {**concluded, "again": again, "started": False})
        context["ti"].xcom_push(key=VERDICT_KEY, value=judgement.verdict.value)
        outcome = judgement.outcome(on_expire=pin.watch_policy.on_expire)
        if outcome is Outcome.SUCCESS:
            self.log.info("%s", judgement.message)
            return records
        context["ti"].xcom_push(key="return_value", value=records)
        if outcome is Outcome.SKIPPED:
            raise AirflowSkipException(judgement.message)
        words = "\n    ".join((judgement.message, *judgement.last_lines))
        self.log.error("%s", words)
        raise AirflowException(words) if again else AirflowFailException(words)

    @override
    def on_kill(self) -> None:
        """The programs are told to stop, if Airflow confirms that the task is over; else they go on."""
        if self._executing is not None and self._ending is None:
            pin = partial(pull_pin, self._executing, self.configure_task_id)
            self._ending = Ending(pin, task_identity(self._executing), self.log)
            self._ending.start()

    def _leave_if_told(self) -> None:
        """A worker that is shut down leaves the watch to the next one."""
        if self._ending is None:
            return
        self._ending.join()
        if self._ending.confirmed:
            raise AirflowFailException("Airflow has ended this task")
        self.log.info("This worker ends: another one goes on with the watch")
        raise AirflowRescheduleException(datetime.now(timezone.utc) + timedelta(seconds=SETTLE_S))  # type: ignore[no-untyped-call]

    def _defer(self, pin: Pin, context: Context) -> NoReturn:
        trigger = SupervisorProgramsTrigger(pin=self._watching(pin, context).to_dict(), task=task_identity(context))
        self.defer(trigger=trigger, method_name="conclude")

    async def _look(self, pin: Pin) -> Journal:
        """Return what one look has shown."""
        policy = pin.watch_policy
        journal = Journal(self.log, unreachable_from=policy.unreachable_from, refused_from=policy.refused_from)
        pipes = worker_pipes(pin.resolved_host())
        await mask_secrets(pin.secrets)
        async with aclosing(watch(watch_target(pin), pin.watch_policy, pipes=pipes, once=True)) as observations:
            async for observation in observations:
                journal.note(observation)
                if isinstance(observation, Concluded):
                    await observation.confirm()
        return journal

    def _start_anew(self, pin: Pin, context: Context) -> None:
        """After a try whose verdict was told, the programs are started again; what runs is adopted."""
        concluded = recall(context, CONCLUDED_KEY)
        if concluded is None or concluded.get("started"):
            return
        if concluded.get("tries") == context["ti"].max_tries and not concluded["again"]:
            return  # the worker was lost while the task was ending: it comes to the same end once more
        reported = concluded["reported"]
        ask(pin.resolved_host(), "ack", job=pin.job, consumer=CONSUMER, positions={}, reported=reported)
        start_programs(pin, self.log)
        remember(context, CONCLUDED_KEY, {**concluded, "started": True})

    def _concluded(self, context: Context, generations: Mapping[str, int]) -> dict[str, Any]:
        """Return what this end adds to what is remembered: a clear gives the task new tries, and the job new ones."""
        tries, before = context["ti"].max_tries, recall(context, CONCLUDED_KEY) or {}
        if before.get("tries") != tries:
            before = {"failures": 0}
        elif before["reported"] == generations:
            return before
        return {"tries": tries, "reported": dict(generations), "failures": before["failures"] + 1}

    def _watching(self, pin: Pin, context: Context) -> Pin:
        """Return the pin with the moments that this try's limits count from."""
        attempt, begun = context["ti"].try_number, recall(context, BEGUN_KEY)
        if begun is None or begun["try"] != attempt:
            begun = {"try": attempt, "at": time.time(), "unreachable_from": None}
            remember(context, BEGUN_KEY, begun)
        return pin.with_policy(
            check_timeout=min(self._limits_s(pin), default=None),
            watched_from=begun["at"],
            unreachable_from=begun["unreachable_from"],
            refused_from=begun.get("refused_from"),
            started_at=began_at(pin, context, self.start_task_id),
        )

    def _limits_s(self, pin: Pin) -> list[float]:
        """Return how long a watch may last: by the job, and by Airflow's own words for it."""
        limits = [pin.watch_policy.check_timeout, self.timeout if self.timeout < _YEARS else None]
        if self.execution_timeout is not None:
            limits.append(self.execution_timeout.total_seconds())
        return [limit for limit in limits if limit is not None]
