"""The sweep: what runs on a host and nobody answers for any more is found, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from typing_extensions import override

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.core.orphans import (
    CONFIGURE_TASK,
    CONFIRM_S,
    UNFINISHED,
    WATCH_TASK,
    HeldJob,
    Run,
    RunState,
    WatchTask,
)
from airflow_supervisor_jobs.exceptions import HostError, HostUnreachable
from airflow_supervisor_jobs.hosts.sweep import ENDED, Sweeping, Swept, sweep
from airflow_supervisor_jobs.operators.owner import deployment_id
from airflow_supervisor_jobs.triggers.reach import worker_pipes

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

_OVER = ["success", "failed"]


class SupervisorOrphansOperator(BaseOperator):
    """Nothing is left on the hosts of a run of this Airflow that is over, and no process of ours without a runner.

    Its XCom is a list of what was found. The task fails if something stays: where ``stop`` is false, or what is
    found would not end; and if a host is out of reach, which hides no other and is asked again by ``retries``.

    :param hosts: the hosts, each root on them once, as :class:`~airflow_supervisor_jobs.config.Host` dumps itself;
        Jinja is rendered in them.
    :param dag_ids: the DAGs of the jobs that run there: of their watches it is said, too, whose job is gone.
    :param stop: whether what is found is ended.
    :param confirm_after: seconds for which a job has to be an orphan before it is called one.
    """

    template_fields: Sequence[str] = ("hosts",)
    ui_color = "#e8f3ec"

    def __init__(
        self,
        *,
        hosts: Sequence[Mapping[str, Any]],
        dag_ids: Sequence[str] = (),
        stop: bool = True,
        confirm_after: float = CONFIRM_S,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hosts = [dict(host) for host in hosts]
        self.dag_ids = list(dag_ids)
        self.stop = stop
        self.confirm_after = confirm_after

    @override
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return what was found."""
        ti = context["ti"]
        by = f"airflow: {ti.dag_id}/{ti.run_id}: {ti.task_id}"
        hosts, airflow = map(Host.model_validate, self.hosts), TaskAirflow(ti, dag_ids=self.dag_ids)
        sweeps = [Sweeping(host, airflow, stop=self.stop, by=by, confirm_s=self.confirm_after) for host in hosts]
        answers = asyncio.run(_sweep_all(sweeps))
        findings = [each for answer in answers if isinstance(answer, Swept) for each in answer.findings]
        for finding in findings:
            self.log.warning("%s: %s: %s", in_words(finding), finding["reason"], finding["error"] or finding["action"])
        unseen = [answer for answer in answers if isinstance(answer, HostError)]
        left = [f"{in_words(each)}: {each['error'] or each['reason']}" for each in findings if each["action"] != ENDED]
        if not self.stop and left:
            left.append("End it: supervisor-jobs orphans --stop")
        if unseen or left:
            # Only what may be otherwise in a while is tried again.
            may_change = (self.stop and left) or any(isinstance(error, HostUnreachable) for error in unseen)
            raise (AirflowException if may_change else AirflowFailException)("; ".join([*map(str, unseen), *left]))
        if not findings:
            self.log.info("Nothing was found")
        return findings


class TaskAirflow:
    """The Airflow that runs this task, asked by the task's own means.

    :param dag_ids: the DAGs whose watches it is asked about.
    """

    def __init__(self, ti: RuntimeTaskInstanceProtocol, *, dag_ids: Sequence[str] = ()) -> None:
        self._ti = ti
        self._dag_ids = dag_ids
        self.deployment = deployment_id()

    def state_of(self, run: Run) -> RunState:
        """Return what it says of a run now."""
        if not self._ti.get_dr_count(dag_id=run.dag_id, run_ids=[run.run_id]):
            return RunState.UNKNOWN
        over = self._ti.get_dr_count(dag_id=run.dag_id, run_ids=[run.run_id], states=_OVER)
        return RunState.OVER if over else RunState.ACTIVE

    def watches(self, held: Sequence[HeldJob]) -> list[WatchTask]:
        """Return the tasks that wait for a job's end now, of the DAGs that have more of them than of ``held``."""
        runs = [
            each.run.dag_id for each in held if each.run and each.owner and each.owner["deployment"] == self.deployment
        ]
        return [
            watch
            for dag_id in self._dag_ids
            if self._waiting(dag_id) > runs.count(dag_id)
            for watch in self._of(dag_id)
        ]

    def _waiting(self, dag_id: str) -> int:
        return self._ti.get_ti_count(dag_id=dag_id, task_ids=[WATCH_TASK], states=list(UNFINISHED))

    def _of(self, dag_id: str) -> Iterator[WatchTask]:
        states = self._ti.get_task_states(dag_id=dag_id, task_ids=[WATCH_TASK])
        for run_id in [run_id for run_id, of_run in states.items() if of_run.get(WATCH_TASK) in UNFINISHED]:
            pin = self._ti.xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=CONFIGURE_TASK)
            if pin is not None:
                yield WatchTask(Run(dag_id, run_id), WATCH_TASK, pin)


async def _sweep_all(sweeps: Sequence[Sweeping]) -> list[Swept | HostError]:
    return await asyncio.gather(*map(_sweep, sweeps))


async def _sweep(how: Sweeping) -> Swept | HostError:
    try:
        async with worker_pipes(how.host)() as pipe:
            return await sweep(pipe, how)
    except HostError as error:
        return error


def in_words(finding: Mapping[str, Any]) -> str:
    """Return what a finding is, as ``host/job:process (pid 12)``."""
    process = f":{finding['process']}" if finding["process"] else ""
    pid = f" (pid {finding['pid']})" if finding["pid"] else ""
    return f"{finding['host']}/{finding['job'] or 'unknown'}{process}{pid}"
