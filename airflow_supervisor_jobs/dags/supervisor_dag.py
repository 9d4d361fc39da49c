"""A job as a DAG of its own."""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator
from typing_extensions import override

from airflow_supervisor_jobs.config import AirflowOptions, Job, Watch, load_job, make_job
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.configure import ConfigureSupervisordOperator
from airflow_supervisor_jobs.operators.daemon import (
    RemoveConfigurationOperator,
    StartSupervisordOperator,
    StopSupervisordOperator,
)
from airflow_supervisor_jobs.operators.forced import add_force_params
from airflow_supervisor_jobs.operators.programs import (
    RestartProgramsOperator,
    StartProgramsOperator,
    StopProgramsOperator,
)
from airflow_supervisor_jobs.sensors.programs import SupervisorProgramsSensor

#: A step that only asks the host is tried again: each does no harm a second time.
STEP_RETRIES = 3
STEP_RETRY_DELAY = timedelta(seconds=10)
#: Where all tasks of a job run: known at parse time, never templated.
PLACEMENT = ("pool", "pool_slots", "queue", "executor", "priority_weight")
#: What has begun comes to its end before more begins: else, in a full pool, starts would go before watches and stops.
ORDER = {"weight_rule": "upstream"}
#: The task that keeps the watch's end in view where tasks of yours stand behind the watch.
VERDICT_TASK_ID = "watch_verdict"


class SupervisorDAG(DAG):
    """A DAG that sets a job up on its host, starts it, watches it, restarts it, and clears up.

    Every step is an attribute, so that your own tasks can stand before or after it::

        dag = SupervisorDAG(job="market_feed")
        dag.watch_programs >> report >> dag.restart_programs

    :param dag_id: by default what the job's YAML says, or else the job's name.
    :param job: a :class:`~airflow_supervisor_jobs.config.Job`, the name of a YAML file in ``configs/job``, or
        what such a file would hold.
    :param config_dir: the folder of the YAML files; by default ``configs`` beside the calling file or above.
    :param overrides: Hydra's, for a job that is no :class:`~airflow_supervisor_jobs.config.Job` yet.
    :param dag_kwargs: of :class:`airflow.sdk.DAG`; they go before those of the YAML file.
    """

    def __init__(
        self,
        dag_id: str | None = None,
        *,
        job: Job | str | Mapping[str, Any],
        config_dir: Path | str | None = None,
        overrides: Sequence[str] = (),
        **dag_kwargs: Any,
    ) -> None:
        self.job = _resolved(job, dag_id=dag_id, overrides=overrides, config_dir=config_dir)
        declared = {"max_active_runs": 1, **self.job.dag, **dag_kwargs}
        super().__init__(dag_id or self.job.dag_id, **_without(declared, {"dag_id"}))
        # Airflow looks at a fixed number of frames above, and would find this file.
        self.fileloc = sys._getframe(1).f_code.co_filename
        _add_steps(self)
        add_force_params(self.params)

    @override
    def validate(self) -> None:
        """Raise what is wrong with the DAG; no task of yours hides how the watch ended.

        Airflow calls it when the file has been read.
        """
        _keep_verdict(self)
        super().validate()  # type: ignore[no-untyped-call]

    @property
    def configure_supervisord(self) -> BaseOperator:
        """The job is resolved, pinned for the run, and installed on its host."""
        return self._step("configure_supervisord")

    @property
    def start_supervisord(self) -> BaseOperator:
        """The host has a living supervisord."""
        return self._step("start_supervisord")

    @property
    def start_programs(self) -> BaseOperator:
        """The programs run."""
        return self._step("start_programs")

    @property
    def watch_programs(self) -> BaseOperator:
        """The programs have ended, and it is known how."""
        return self._step("watch_programs")

    @property
    def restart_programs(self) -> BaseOperator:
        """The next run exists, if the job failed and may be restarted."""
        return self._step("restart_programs")

    @property
    def stop_programs(self) -> BaseOperator:
        """None of the programs runs."""
        return self._step("stop_programs")

    @property
    def stop_supervisord(self) -> BaseOperator:
        """The host's supervisord has ended, unless another job needs it."""
        return self._step("stop_supervisord")

    @property
    def remove_configuration(self) -> BaseOperator:
        """The host no longer knows the job."""
        return self._step("remove_configuration")

    def _step(self, task_id: str) -> BaseOperator:
        step = self.task_dict[task_id]
        assert isinstance(step, BaseOperator)  # noqa: S101 -- we put it there
        return step


def _resolved(
    job: Job | str | Mapping[str, Any], *, dag_id: str | None, overrides: Sequence[str], config_dir: Path | str | None
) -> Job:
    if isinstance(job, Job):
        return job
    if isinstance(job, str):
        return load_job(job, overrides=overrides, config_dir=config_dir)
    name = job.get("name", dag_id)
    if name is None:
        raise ConfigError("the job has no name: give it a `name`, or the DAG a dag_id")
    return make_job(job, name=name, overrides=overrides, config_dir=config_dir)


def _add_steps(dag: SupervisorDAG) -> None:
    """The steps are in the DAG, with the teardowns after whatever happened before them."""
    job, options = dag.job, dag.job.airflow
    given = {key: getattr(options, key) for key in PLACEMENT if key in options.model_fields_set}
    common = {"dag": dag, **_without(ORDER, dag.default_args), **given}
    retried = {"retries": STEP_RETRIES, "retry_delay": STEP_RETRY_DELAY}
    step = {**common, **_without(retried, dag.default_args)}
    configure = ConfigureSupervisordOperator(task_id="configure_supervisord", job=job, **step)
    supervisord = StartSupervisordOperator(task_id="start_supervisord", **step)
    programs = StartProgramsOperator(task_id="start_programs", **step)
    for setup in (configure, supervisord, programs):
        setup.as_setup()  # type: ignore[no-untyped-call]
    watch = SupervisorProgramsSensor(task_id="watch_programs", **common, **watching(options))
    restart = RestartProgramsOperator(task_id="restart_programs", **step).as_teardown(setups=programs)
    # A setup that failed may have had its effect: its teardown goes by those before it, too.
    stop = StopProgramsOperator(task_id="stop_programs", **step).as_teardown(
        setups=[configure, supervisord, programs],
        on_failure_fail_dagrun=True,  # a run whose programs may live on has not succeeded
    )
    daemon = StopSupervisordOperator(task_id="stop_supervisord", **step).as_teardown(setups=[configure, supervisord])
    remove = RemoveConfigurationOperator(task_id="remove_configuration", **step).as_teardown(setups=configure)
    configure >> supervisord >> programs >> watch >> restart >> stop >> daemon >> remove


def _keep_verdict(dag: SupervisorDAG) -> None:
    """The run fails if the watch does, also where a task behind the watch runs nevertheless, and succeeds.

    Airflow takes a run's state from the tasks that none follows, but for teardowns: so one that does nothing is there
    to end as the watch did.
    """
    watch = dag.watch_programs
    behind = [dag.get_task(task_id) for task_id in watch.downstream_task_ids]
    if VERDICT_TASK_ID not in dag.task_dict and any(_hides(task) for task in behind):
        watch.set_downstream(EmptyOperator(task_id=VERDICT_TASK_ID, dag=dag))


def _hides(task: Any) -> bool:
    """Tell whether Airflow looks at this task for a run's state in place of the one before it."""
    return bool(not task.is_teardown or task.on_failure_fail_dagrun)


def watching(options: AirflowOptions) -> dict[str, Any]:
    """Return how a job is watched, as arguments of the sensor."""
    retried = {"retries": options.retries, "retry_delay": timedelta(seconds=options.retry_delay)}
    return {
        **{key: value for key, value in retried.items() if key in options.model_fields_set},
        "deferrable": options.watch is Watch.DEFERRABLE,
        "mode": "reschedule" if options.watch is Watch.RESCHEDULE else "poke",
        "poke_interval": options.check_interval,
    }


def _without(options: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
