"""The watch as Airflow's triggerer runs it: one trigger a job, one shared connection a host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from typing_extensions import override

from airflow_supervisor_jobs.exceptions import HostError
from airflow_supervisor_jobs.hosts.stream import in_background
from airflow_supervisor_jobs.hosts.watch import Concluded, Target, watch
from airflow_supervisor_jobs.triggers.journal import Journal
from airflow_supervisor_jobs.triggers.masks import mask_secrets
from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import triggerer_pipes
from airflow_supervisor_jobs.triggers.settle import settle
from airflow_supervisor_jobs.triggers.states import stop_request, was_killed

#: Under this name the host keeps how far the task's log has come.
CONSUMER = "airflow"


def watch_target(pin: Pin) -> Target:
    """Return what the task of this run watches: all of the job, its output from where the log has come to."""
    return Target(job=pin.job, owner=dict(pin.owner), consumer=CONSUMER, programs=None)


class SupervisorProgramsTrigger(BaseTrigger):
    """Watches a job, logs its programs' lines, and fires once: when there is a verdict.

    Airflow keeps the class path, the arguments and the event in its database: they are public, carry a
    format, and are never renamed.

    :param pin: what the run has resolved (:class:`~airflow_supervisor_jobs.triggers.pin.Pin`).
    :param task: who waits: ``dag_id, run_id, task_id, map_index``.
    """

    def __init__(self, *, pin: Mapping[str, Any], task: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pin = dict(pin)
        self.waiting = dict(task)

    @override
    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return f"{__name__}.SupervisorProgramsTrigger", {"pin": self.pin, "task": self.waiting}

    @override
    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Yield one event: what :meth:`Journal.event` says of the end."""
        began = asyncio.get_running_loop().time()
        pin = Pin.from_dict(self.pin)
        journal = Journal(self.log)
        pipes = triggerer_pipes(pin.resolved_host())
        await mask_secrets(pin.secrets)
        async with aclosing(watch(watch_target(pin), pin.watch_policy, pipes=pipes)) as observations:
            async for observation in observations:
                journal.note(observation)
                if isinstance(observation, Concluded):
                    # Neither waits for the other, for neither loss does harm. Without the event the next watch of this
                    # try concludes the same from the records, reported or not. Without the confirmation the next start
                    # of this run finds the end unreported and starts nothing: it leaves that to the sensor, which
                    # remembers what it has reported and tells the host so itself before it starts anything anew.
                    in_background(observation.confirm())
        await settle(began)
        yield TriggerEvent(journal.event())  # type: ignore[no-untyped-call]

    @override
    async def on_kill(self) -> None:
        """The programs are told to stop, if Airflow confirms that the task is over.

        A triggerer that was frozen is told to kill what another one has long taken over.
        """
        if not await was_killed(self.waiting):
            self.log.info("The task is not over for Airflow: the programs go on")
            return
        pin = Pin.from_dict(self.pin)
        try:
            async with triggerer_pipes(pin.resolved_host())() as pipe:
                await pipe.request("stop", **stop_request(pin, self.waiting))
        except HostError as error:
            self.log.warning("The programs could not be stopped now, stop_programs will: %s", error)
