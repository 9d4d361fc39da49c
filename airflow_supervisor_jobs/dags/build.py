"""A DAG for every YAML file of a config folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Container, MutableMapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_supervisor_jobs.config import Job, Program, find_config_dir, job_names
from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.configure import ConfigureSupervisordOperator

BROKEN_PREFIX = "broken__"

_log = logging.getLogger(__name__)


def build_dags(
    namespace: MutableMapping[str, Any], config_dir: Path | str | None = None, *, exclude: Container[str] = ()
) -> list[str]:
    """Every file of ``configs/job`` has become a DAG in ``namespace``; their ids are returned.

    Call it as ``build_dags(globals())`` in a DAG file. A file that cannot be read hides no other: it shows as
    the DAG ``broken__NAME``, whose documentation is the error and whose runs fail with it. While Airflow runs a
    task it wants one DAG, and only that one is made.

    :param config_dir: by default the folder ``configs`` beside the DAG file or above.
    :param exclude: names of jobs that have a DAG of their own elsewhere.
    """
    source = Path(namespace["__file__"])
    folder = Path(config_dir) if config_dir is not None else find_config_dir(source)
    wanted = get_parsing_context().dag_id
    made: dict[str, DAG] = {}
    names = [name for name in job_names(folder) if name not in exclude]
    for name in sorted(names, key=lambda name: name != wanted):
        dag = _build(name, folder, wanted)
        if dag.dag_id in made:
            dag = _placeholder(name, f"{folder / 'job' / name}.yaml: another job's DAG is {dag.dag_id} too. Rename one")
        if wanted in (None, dag.dag_id):
            dag.fileloc = str(source)
            made[dag.dag_id] = dag
        if wanted in made:
            break
    # Airflow takes every DAG that a global name leads to, so two may not share one: a-b and a_b would.
    namespace.update(
        {f"dag_{number}_{_identifier(dag_id)}": made[dag_id] for number, dag_id in enumerate(sorted(made))}
    )
    return sorted(made)


def _build(name: str, config_dir: Path, wanted: str | None) -> DAG:
    try:
        dag = SupervisorDAG(job=name, config_dir=config_dir)
        # Airflow would, and report what it finds as an error of the whole file.
        dag.validate()
    except Exception as error:  # whatever is wrong with one file must not hide the others
        _log.warning("%s cannot be made a DAG: %s", name, error)
        words = str(error) or repr(error)
        if not isinstance(error, ConfigError):
            words = f"{config_dir / 'job' / name}.yaml: Airflow makes no DAG of it: {words}"
        return _stand_in(name, words) if name == wanted else _placeholder(name, words)
    return dag


def _stand_in(name: str, error: str) -> DAG:
    """Return the DAG by which a run that began before its file broke goes on: all it needs is what it has pinned."""
    nothing = Job(name=name, programs={"nothing": Program(command="false")})
    dag = SupervisorDAG(name, job=nothing)
    configure = dag.configure_supervisord
    assert isinstance(configure, ConfigureSupervisordOperator)  # noqa: S101 -- it is
    configure.broken = error
    return dag


def _placeholder(name: str, error: str) -> DAG:
    with DAG(
        BROKEN_PREFIX + re.sub(r"[^\w.-]", "_", name),
        description=f"The job {name} cannot be read",
        doc_md=f"The job `{name}` cannot be read:\n\n```\n{error}\n```",
        tags={"broken"},
    ) as dag:

        @task
        def read_configuration() -> None:
            raise AirflowFailException(error)

        read_configuration()
    return dag


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
