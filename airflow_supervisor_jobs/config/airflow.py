"""What Airflow does with a job: how it watches, how long, and what it makes of the end."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from airflow_supervisor_jobs.config.base import Model, Owner
from airflow_supervisor_jobs.config.values import Boolean, Clock, Duration, ExitCodes, Text


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


class ReferenceDate(Enum):
    """The date whose day `endtime` is on."""

    START_DATE = "start_date"
    LOGICAL_DATE = "logical_date"
    DATA_INTERVAL_END = "data_interval_end"


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
    """Seconds after the programs' start at which the job is over as planned."""

    endtime: Annotated[Clock | None, Owner.AIRFLOW] = None
    """The time of day, in the DAG's time zone, at which the job is over as planned."""

    reference_date: Annotated[ReferenceDate, Owner.AIRFLOW] = ReferenceDate.DATA_INTERVAL_END
    """The date whose day `endtime` is on."""

    on_expire: Annotated[OnExpire, Owner.AIRFLOW] = OnExpire.SUCCESS
    """How the watch ends when `runtime` or `endtime` is reached."""

    skip_on_exit_code: Annotated[ExitCodes, Owner.AIRFLOW] = ()
    """Exit codes that mean: skipped."""

    if_running: Annotated[IfRunning, Owner.AIRFLOW] = IfRunning.ADOPT
    """What to do about a copy that another run started and that still runs."""

    maxretrigger: Annotated[int, Field(ge=0), Owner.AIRFLOW] = 0
    """How often a failed run triggers the next run of its DAG."""

    stop_on_exit: Annotated[Boolean, Owner.AIRFLOW] = True
    """Whether the end of the run stops the programs and supervisord."""

    cleanup: Annotated[Boolean, Owner.AIRFLOW] = False
    """Whether the end of the run deletes the job's logs and records on the host too."""

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
