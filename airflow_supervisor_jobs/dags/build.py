"""A DAG for every YAML file of a config folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, MutableMapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context
from airflow.sdk.exceptions import AirflowFailException

from airflow_supervisor_jobs.config import Job, Library, Program, find_config_dir, job_names, load_job, open_library
from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.configure import ConfigureSupervisordOperator

BROKEN_PREFIX = "broken__"

_log = logging.getLogger(__name__)


def build_dags(
    namespace: MutableMapping[str, Any], config_dir: Path | str | None = None, *, exclude: Collection[str] = ()
) -> list[str]:
    """Every file of ``configs/job`` has become a DAG in ``namespace``; their ids are returned.

    Call it as ``build_dags(globals())`` in a DAG file. A file that cannot be read hides no other: it shows as
    the DAG ``broken__NAME``, whose documentation is the error and whose runs fail with it. While Airflow runs a
    task it wants one DAG, and only that one is made.

    :param config_dir: by default the folder ``configs`` beside the DAG file or above.
    :param exclude: names of jobs that have a DAG of their own elsewhere. One that no file has shows as broken, too:
        misspelt, it would leave its job with two DAGs.
    """
    source = Path(namespace["__file__"])
    library = open_library(find_config_dir(source) if config_dir is None else config_dir)
    wanted = get_parsing_context().dag_id
    made: dict[str, DAG] = {}
    names = {*job_names(library)}.symmetric_difference(exclude)
    for name in sorted(names, key=lambda name: (name != wanted, name)):
        dag = _build(name, library, wanted)
        if dag is not None and dag.dag_id in made:
            words = f"{library.folder}/job/{name}.yaml: another job's DAG is {dag.dag_id} too. Rename one"
            dag = _placeholder(name, words)
        if dag is not None and wanted in (None, dag.dag_id):
            dag.fileloc = str(source)
            made[dag.dag_id] = dag
        if wanted in made:
            break
    # Airflow takes every DAG that a global name leads to, so two may not share one: a-b and a_b would.
    namespace.update(
        {f"dag_{number}_{_identifier(dag_id)}": made[dag_id] for number, dag_id in enumerate(sorted(made))}
    )
    return sorted(made)


def _build(name: str, library: Library, wanted: str | None) -> DAG | None:
    """Return a job's DAG, or a DAG that says why there is none; None if it has another id than the one wanted."""
    try:
        job = load_job(name, config_dir=library)
        if wanted not in (None, job.dag_id):
            return None
        dag = SupervisorDAG(job=job)
        # Airflow would, and report what it finds as an error of the whole file.
        dag.validate()
    except Exception as error:  # whatever is wrong with one file must not hide the others
        _log.warning("%s cannot be made a DAG: %s", name, error)
        words = str(error) or repr(error)
        if not isinstance(error, ConfigError):
            words = f"{library.folder}/job/{name}.yaml: Airflow makes no DAG of it: {words}"
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
    from airflow.sdk import task  # imports every provider's decorators, for which the others need not wait

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
