"""What Airflow does with a job: how it watches, how long, and what it makes of the end."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from airflow_supervisor_jobs.config.base import MisfitError, Model, Owner
from airflow_supervisor_jobs.config.values import Boolean, ByteSize, Clock, Duration, ExitCodes, Text, parse_boolean


class OnExpire(Enum):
    """How a watch ends whose job's planned time is over."""

    SUCCESS = "success"
    FAIL = "fail"
    SKIP = "skip"


class Watch(Enum):
    """Who watches."""

    DEFERRABLE = "deferrable"
    RESCHEDULE = "reschedule"
    POKE = "poke"


class IfRunning(Enum):
    """What a start does about a copy that another run started and that still runs."""

    ADOPT = "adopt"
    RESTART = "restart"
    FAIL = "fail"


class Cleanup(Enum):
    """Whether the end of a run deletes what the job has left on its host."""

    NEVER = "never"
    ON_SUCCESS = "on_success"
    ALWAYS = "always"


class ForwardLogs(Enum):
    """Which lines of the programs reach the log of the watch."""

    ALL = "all"
    TAIL = "tail"
    NONE = "none"


class ReferenceDate(Enum):
    """The moment after which `endtime` is looked for."""

    START_DATE = "start_date"
    LOGICAL_DATE = "logical_date"
    DATA_INTERVAL_END = "data_interval_end"


def parse_cleanup(value: Any) -> Any:
    """Return ``always`` for true and ``never`` for false, in supervisord's words too; anything else as it is."""
    try:
        always = parse_boolean(value)
    except ValueError:
        return value
    return {True: Cleanup.ALWAYS, False: Cleanup.NEVER}[always] if isinstance(always, bool) else value


def parse_forward_logs(value: Any) -> Any:
    """Return ``all`` for true and ``none`` for false, in supervisord's words too; anything else as it is."""
    try:
        forward = parse_boolean(value)
    except ValueError:
        return value
    return {True: ForwardLogs.ALL, False: ForwardLogs.NONE}[forward] if isinstance(forward, bool) else value


class AirflowOptions(Model):
    """How Airflow runs and watches a job. Durations are seconds, or texts like `90s`, `5m`, `2h`, `1d`."""

    watch: Annotated[Watch, Owner.AIRFLOW] = Watch.DEFERRABLE
    """Who watches: the triggerer (`deferrable`), or a sensor that frees its slot (`reschedule`) or not (`poke`)."""

    check_interval: Annotated[Duration, Field(gt=0), Owner.AIRFLOW] = 5
    """Seconds between two looks, where somebody has to look: `reschedule` and `poke`."""

    check_timeout: Annotated[Duration | None, Owner.AIRFLOW] = None
    """Seconds of watching after which the job is `timed_out`; null is never."""

    unreachable_timeout: Annotated[Duration | None, Owner.AIRFLOW] = None
    """Seconds without contact after which the watch fails and leaves the job alone; null is never."""

    runtime: Annotated[Duration | None, Owner.AIRFLOW] = None
    """Seconds after a run has started the programs, or taken them over, at which the job is over as planned. Restarts
    of any kind do not begin it anew."""

    endtime: Annotated[Clock | None, Owner.AIRFLOW] = None
    """The time of day, in the DAG's time zone, at which the job is over as planned: the first one after
    `reference_date`."""

    reference_date: Annotated[ReferenceDate, Owner.AIRFLOW] = ReferenceDate.DATA_INTERVAL_END
    """The moment of the run after which `endtime` is looked for. A restarted run has that of the first one."""

    on_expire: Annotated[OnExpire, Owner.AIRFLOW] = OnExpire.SUCCESS
    """How the watch ends when `runtime` or `endtime` is reached."""

    skip_on_exit_code: Annotated[ExitCodes, Owner.AIRFLOW] = ()
    """Exit codes that mean: skipped."""

    if_running: Annotated[IfRunning, Owner.AIRFLOW] = IfRunning.ADOPT
    """What to do about a copy that another run, or somebody's `up`, started and that still runs: take it over as it is
    (`adopt`), start it anew (`restart`), or refuse (`fail`)."""

    restart_on_initial: Annotated[Boolean, Owner.AIRFLOW] = False
    """`if_running: restart` for every run that no failed one has triggered."""

    restart_on_retrigger: Annotated[Boolean, Owner.AIRFLOW] = False
    """`if_running: restart` for every run that a failed one has triggered."""

    maxretrigger: Annotated[int, Field(ge=0), Owner.AIRFLOW] = 0
    """How often a failed run triggers the next run of its DAG: by default never."""

    stop_on_exit: Annotated[Boolean, Owner.AIRFLOW] = True
    """Whether the end of the run stops the programs and supervisord. If not, the next run adopts them."""

    cleanup: Annotated[
        Cleanup, BeforeValidator(parse_cleanup, json_schema_input_type=Cleanup | bool), Owner.AIRFLOW
    ] = Cleanup.NEVER
    """Whether the end of the run deletes the job's own logs and records on the host too: never, only if the watch
    succeeded, or always. false is never, true is always."""

    forward_logs: Annotated[
        ForwardLogs, BeforeValidator(parse_forward_logs, json_schema_input_type=ForwardLogs | bool), Owner.AIRFLOW
    ] = ForwardLogs.ALL
    """Which lines reach the watch's log: all, live (`all`), the last ones of each stream when the job has ended
    (`tail`), or no line (`none`). true is all, false is none. On the host are all of them."""

    max_log_rate: Annotated[ByteSize | None, Field(ge=1), Owner.AIRFLOW] = None
    """Bytes a second of all the job's output together that reach the watch's log on average, like `100KB`; ten seconds'
    worth may come at once. What is more is held back, counted and said; it is still on the host. null is no limit."""

    lease: Annotated[Duration | None, Field(ge=60), Owner.RUNNER] = None
    """Seconds after which the host ends the job by itself when nobody has asked for it: no watch, no start."""

    pool: Annotated[Text | None, Owner.AIRFLOW] = None
    """The pool of the job's tasks."""

    pool_slots: Annotated[int, Field(ge=1), Owner.AIRFLOW] = 1
    """How many of the pool's slots each task takes."""

    queue: Annotated[Text | None, Owner.AIRFLOW] = None
    """The queue of the job's tasks."""

    executor: Annotated[Text | None, Owner.AIRFLOW] = None
    """The executor of the job's tasks."""

    priority_weight: Annotated[int, Owner.AIRFLOW] = 1
    """The priority of the job's tasks."""

    retries: Annotated[int, Field(ge=0), Owner.AIRFLOW] = 0
    """How often a failed watch starts the programs anew in the same run."""

    retry_delay: Annotated[Duration, Owner.AIRFLOW] = 300
    """Seconds before such a retry."""

    @model_validator(mode="after")
    def _restarts_fit(self) -> AirflowOptions:
        for name in ("restart_on_initial", "restart_on_retrigger"):
            if getattr(self, name) and self.if_running is IfRunning.FAIL:
                raise MisfitError("restarts what if_running: fail refuses. Leave one out", name)
        return self
