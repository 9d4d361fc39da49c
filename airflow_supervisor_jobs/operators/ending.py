"""A worker's process that Airflow ends: why, and what that means for the job.

Airflow ends the process of a task that a user or the run's timeout has ended, but also that of a worker that is
shut down or has lost its API server. Only the first is a reason to end the job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from airflow_supervisor_jobs.triggers.pin import Pin
from airflow_supervisor_jobs.triggers.reach import ask
from airflow_supervisor_jobs.triggers.states import KILLED, stop_request, was_killed_here

if TYPE_CHECKING:
    from airflow.sdk import Context


class Ending(threading.Thread):
    """Stops the programs if Airflow confirms that the task is over.

    A thread, since ``on_kill`` is called from a signal handler: the task's own thread may hold the lock that guards
    the line to Airflow. The process has five seconds then; what the host was told by that time it carries out.

    :param find_pin: returns what the run has resolved.
    :param task: who is ended: ``dag_id, run_id, task_id, map_index``.
    :param ends: the states in which it is over.
    :ivar confirmed: whether the task is over, None where Airflow did not say.
    """

    def __init__(
        self, find_pin: Callable[[], Pin], task: dict[str, Any], log: Any, *, ends: Collection[str] = KILLED
    ) -> None:
        super().__init__(name="on_kill", daemon=True)
        self.find_pin = find_pin
        self.waiting = task
        self.log = log
        self.ends = ends
        self.confirmed: bool | None = None

    @override
    def run(self) -> None:
        """The programs were told to stop, or the log says why not."""
        try:
            self.confirmed = was_killed_here(self.waiting, ends=self.ends)
            if not self.confirmed:
                self.log.info("The task is not over for Airflow: the programs go on")
                return
            pin = self.find_pin()
            ask(pin.resolved_host(), "stop", **stop_request(pin, self.waiting))
            self.log.info("The programs have been stopped")
        except Exception as error:  # in a thread nobody else would say it
            self.log.warning("The programs are not stopped now: %s", error)


def task_identity(context: Context) -> dict[str, Any]:
    """Return by what Airflow knows this task."""
    ti = context["ti"]
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index if ti.map_index is not None else -1,
    }
