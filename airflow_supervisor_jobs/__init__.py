"""Long-running jobs on your hosts: supervised by supervisord, scheduled and shown by Airflow.

The public names are imported at their first use, so that importing this package needs neither Airflow
nor an SSH library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_supervisor_jobs.config import (
        AirflowOptions,
        Host,
        Job,
        Program,
        find_config_dir,
        load_host,
        load_job,
        load_jobs,
    )
    from airflow_supervisor_jobs.dags.build import build_dags
    from airflow_supervisor_jobs.dags.orphans import SupervisorOrphansDAG
    from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG
    from airflow_supervisor_jobs.exceptions import SupervisorJobsError
    from airflow_supervisor_jobs.sensors.programs import SupervisorProgramsSensor

__all__ = [
    "AirflowOptions",
    "Host",
    "Job",
    "Program",
    "SupervisorDAG",
    "SupervisorJobsError",
    "SupervisorOrphansDAG",
    "SupervisorProgramsSensor",
    "build_dags",
    "find_config_dir",
    "load_host",
    "load_job",
    "load_jobs",
]

_HOMES = {
    "SupervisorDAG": "dags.supervisor_dag",
    "SupervisorJobsError": "exceptions",
    "SupervisorOrphansDAG": "dags.orphans",
    "SupervisorProgramsSensor": "sensors.programs",
    "build_dags": "dags.build",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'config')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
