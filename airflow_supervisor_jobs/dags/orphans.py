"""A DAG that looks on every host for what nobody answers for any more."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_supervisor_jobs.config import Host, Job, find_config_dir, load_host, load_jobs
from airflow_supervisor_jobs.core.orphans import CONFIRM_S, RETRIES, RETRY_DELAY_S, hosts_of
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.orphans import SupervisorOrphansOperator

_log = logging.getLogger(__name__)


class SupervisorOrphansDAG(DAG):
    """A DAG with a task for each host: what a run of this Airflow has left there is found, and ended.

    Put it into a DAG file of its own, beside those of the jobs::

        dag = SupervisorOrphansDAG()

    Every other Airflow's jobs, and those that a person has started, are left alone, and so is a job that says
    ``stop_on_exit: false``.

    :param config_dir: the folder of the YAML files; by default ``configs`` beside the calling file or above.
    :param hosts: the hosts to look at, by name or as :class:`~airflow_supervisor_jobs.config.Host`; by default those
        of all jobs in ``config_dir``.
    :param dag_ids: DAGs whose watches are looked after too: those of jobs that are in no file of ``config_dir``, or
        have another id than their file says.
    :param stop: whether what is found is ended; else the task fails and says what was found.
    :param confirm_after: seconds for which a job has to be an orphan before it is called one.
    :param dag_kwargs: of :class:`airflow.sdk.DAG`.
    """

    def __init__(
        self,
        dag_id: str = "supervisor_orphans",
        *,
        config_dir: Path | str | None = None,
        hosts: Sequence[str | Host] | None = None,
        dag_ids: Sequence[str] = (),
        stop: bool = True,
        confirm_after: float = CONFIRM_S,
        **dag_kwargs: Any,
    ) -> None:
        defaults = {"schedule": "@hourly", "catchup": False, "max_active_runs": 1}
        super().__init__(dag_id, **{**defaults, **dag_kwargs})
        # Airflow looks at a fixed number of frames above, and would find this file.
        self.fileloc = sys._getframe(1).f_code.co_filename
        patience = {"retries": RETRIES, "retry_delay": timedelta(seconds=RETRY_DELAY_S)}
        given: dict[str, Any] = {key: value for key, value in patience.items() if key not in self.default_args}
        jobs = _jobs(config_dir) if hosts is None else []
        found = hosts_of(jobs) if hosts is None else sorted(_given(hosts, config_dir), key=lambda host: host.name)
        for name, same in groupby(found, key=lambda host: host.name):
            declared = [job.dag_id for job in jobs if job.host.name == name]
            SupervisorOrphansOperator(
                task_id=re.sub(r"[^\w.-]", "_", name),
                hosts=[host.model_dump(mode="json", exclude_defaults=True) | {"name": name} for host in same],
                dag_ids=sorted({*declared, *dag_ids}),
                stop=stop,
                confirm_after=confirm_after,
                dag=self,
                **given,
            )


def _jobs(config_dir: Path | str | None) -> list[Job]:
    """Return the jobs that can be read.

    :raises ConfigError: there is none.
    """
    errors: list[ConfigError] = []
    folder = find_config_dir() if config_dir is None else config_dir
    jobs = load_jobs(folder, errors=errors)
    for error in errors:
        _log.warning("The host of a job that cannot be read is not looked at for it: %s", error)
    if not jobs:
        raise ConfigError(f"no job in {folder} says a host to look at. Declare one, or give hosts=")
    return list(jobs.values())


def _given(hosts: Iterable[str | Host], config_dir: Path | str | None) -> list[Host]:
    return [host if isinstance(host, Host) else load_host(host, config_dir=config_dir) for host in hosts]
