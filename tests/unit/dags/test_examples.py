"""The example DAG files make the DAGs that they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_supervisor_jobs.config import job_names

TREE = Path(__file__).parents[3]
EXPECTED = {
    "all_jobs": {*job_names(TREE / "configs")},
    "one_job": {"ticker_on_demand"},
    "own_task": {"ticker_with_report"},
    "orphans_sweep": {"supervisor_orphans"},
}


def test_every_file_is_expected() -> None:
    assert {path.stem for path in (TREE / "dags").glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_file_makes_its_dags(name: str) -> None:
    namespace = runpy.run_path(str(TREE / "dags" / f"{name}.py"))
    dags = {dag.dag_id: dag for dag in namespace.values() if isinstance(dag, DAG)}
    assert set(dags) == EXPECTED[name]
    for dag in dags.values():
        dag.validate()
        assert dag.fileloc == str(TREE / "dags" / f"{name}.py")
