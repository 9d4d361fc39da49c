"""A DAG for every YAML file, and one broken file that hides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_supervisor_jobs.dags.build import build_dags
from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG


@pytest.fixture
def dag_file(tmp_path: Path) -> Path:
    jobs = tmp_path / "configs" / "job"
    jobs.mkdir(parents=True)
    (jobs / "feed.yaml").write_text("command: sleep 1\n")
    (jobs / "train.yaml").write_text("command: sleep 2\ndag_id: training\n")
    (jobs / "wrong.yaml").write_text("comand: sleep 3\n")
    return tmp_path / "jobs.py"


def built(dag_file: Path) -> dict[str, DAG]:
    namespace = {"__file__": str(dag_file)}
    ids = build_dags(namespace)
    dags = {dag.dag_id: dag for dag in namespace.values() if isinstance(dag, DAG)}
    assert sorted(dags) == ids
    return dags


def test_every_file_becomes_a_dag(dag_file: Path) -> None:
    dags = built(dag_file)
    assert sorted(dags) == ["broken__wrong", "feed", "training"]
    assert isinstance(dags["feed"], SupervisorDAG)
    assert {dag.fileloc for dag in dags.values()} == {str(dag_file)}


def test_a_job_that_has_its_dag_elsewhere_can_be_left_out(dag_file: Path) -> None:
    assert build_dags({"__file__": str(dag_file)}, exclude=["feed", "wrong"]) == ["training"]


def test_a_name_left_out_that_no_job_has_shows_as_broken(dag_file: Path) -> None:
    namespace = {"__file__": str(dag_file)}
    assert build_dags(namespace, exclude=["feet", "wrong"]) == ["broken__feet", "feed", "training"]
    assert "Did you mean 'feed'?" in next(dag for name, dag in namespace.items() if "broken" in name).doc_md


def test_names_that_look_alike_hide_nothing(dag_file: Path) -> None:
    jobs = dag_file.parent / "configs" / "job"
    for name, text in {"a-b": "command: x", "a_b": "command: x", "c-d": "x: y", "c_d": "x: y"}.items():
        (jobs / f"{name}.yaml").write_text(text)
    (jobs / "twin.yaml").write_text("command: sleep 2\ndag_id: training\n")
    dags = built(dag_file)
    assert {"a-b", "a_b", "broken__c-d", "broken__c_d", "training", "broken__twin"} <= set(dags)
    assert "another job's DAG is training too" in dags["broken__twin"].doc_md


def test_a_broken_file_shows_as_a_dag_that_says_why(dag_file: Path) -> None:
    broken = built(dag_file)["broken__wrong"]
    assert "wrong.yaml:1:1" in broken.doc_md
    assert "command" in broken.doc_md
    assert broken.task_ids == ["read_configuration"]


@pytest.mark.parametrize(
    "line",
    [
        "dag_id: not an id",
        "owner_links: {ada: nowhere}",
        "access_control: {role: {none: [at all]}}",
        "max_active_runs: 2\nschedule: '@continuous'",
    ],
)
def test_what_airflow_refuses_is_broken_and_no_error_of_the_whole(dag_file: Path, line: str) -> None:
    (dag_file.parent / "configs/job/wrong.yaml").write_text(f"command: x\nstart_date: 2026-01-01\n{line}\n")
    dags = built(dag_file)
    assert sorted(dags) == ["broken__wrong", "feed", "training"]
    assert "job/wrong.yaml: Airflow makes no DAG of it: " in dags["broken__wrong"].doc_md


def test_a_file_with_the_other_suffix_is_broken(dag_file: Path) -> None:
    (dag_file.parent / "configs/job/late.yml").write_text("command: x\n")
    dags = built(dag_file)
    assert sorted(dags) == ["broken__late.yml", "broken__wrong", "feed", "training"]
    assert "late.yml: call it late.yaml" in dags["broken__late.yml"].doc_md


@pytest.mark.parametrize("wanted", ["feed", "training", "broken__wrong"])
def test_a_task_gets_its_own_dag_only(dag_file: Path, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", wanted)
    assert sorted(built(dag_file)) == [wanted]


def test_a_task_imports_neither_hydra_nor_an_ssh_library_for_its_dag(dag_file: Path) -> None:
    (dag_file.parent / "configs/job/wrong.yaml").unlink()
    dag_file.write_text(
        "import sys\n"
        "from airflow_supervisor_jobs import build_dags\n"
        "print(build_dags(globals()))\n"
        "heavy = ('hydra', 'omegaconf', 'paramiko', 'asyncssh', 'airflow.sdk.bases.decorator')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    kept = str(dag_file.parent / "kept")
    environ = os.environ | {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "training", "SUPERVISOR_JOBS_CACHE": kept}
    for known in ("['hydra', 'omegaconf']", "[]"):
        done = subprocess.run([sys.executable, dag_file], check=True, capture_output=True, text=True, env=environ)
        assert done.stdout.splitlines()[-2:] == ["['training']", known]


def test_a_run_goes_on_though_its_file_has_broken(dag_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "wrong")
    dag = built(dag_file)["wrong"]
    assert isinstance(dag, SupervisorDAG)
    assert "wrong.yaml:1:1" in dag.configure_supervisord.broken
