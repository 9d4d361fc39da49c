"""The shape of the sweep's DAG."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.dags.orphans import SupervisorOrphansDAG
from airflow_supervisor_jobs.exceptions import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of four jobs on two hosts, one of which has two roots, and of one that is broken."""
    files: dict[str, dict[str, Any]] = {
        "host/far": {"hostname": "far.example.com", "username": "feeds", "password_env": "FAR_PASSWORD"},
        "job/first": {"command": "true", "host": "far"},
        "job/second": {"command": "true", "host": "far", "dag": {"dag_id": "renamed"}},
        "job/apart": {"command": "true", "host": {"hostname": "far.example.com", "name": "far", "root": "/srv/apart"}},
        "job/near": {"command": "true"},
        "job/broken": {"comand": "true"},
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return tmp_path


def test_it_has_a_task_for_each_host_with_all_its_roots(folder: Path) -> None:
    dag = SupervisorOrphansDAG(config_dir=folder)
    assert isinstance(dag, DAG)
    assert (dag.dag_id, dag.catchup, dag.max_active_runs, dag.fileloc) == ("supervisor_orphans", False, 1, __file__)
    tasks: dict[str, Any] = dag.task_dict
    assert {name: [host.get("root") for host in task.hosts] for name, task in tasks.items()} == {
        "far": ["/srv/apart", None],
        "local": [None],
    }
    assert (tasks["far"].dag_ids, tasks["local"].dag_ids) == (["apart", "first", "renamed"], ["near"])
    dag.validate()


def test_it_ends_what_it_finds_and_asks_again_three_times_by_default(folder: Path) -> None:
    tasks: list[Any] = SupervisorOrphansDAG(config_dir=folder).tasks
    patience = (True, 30, 3, timedelta(seconds=30))
    assert {(task.stop, task.confirm_after, task.retries, task.retry_delay) for task in tasks} == {patience}
    mine: Any = SupervisorOrphansDAG(
        "mine", config_dir=folder, hosts=["far"], stop=False, default_args={"retries": 0, "queue": "site-a"}
    ).get_task("far")
    assert (mine.stop, mine.retries, mine.queue) == (False, 0, "site-a")


def test_hosts_may_be_given(folder: Path) -> None:
    hosts = ["far", Host(name="other", hostname="other.example.com")]
    dag = SupervisorOrphansDAG(config_dir=folder, hosts=hosts, dag_ids=["by_hand"])
    tasks: dict[str, Any] = dag.task_dict
    assert list(tasks) == ["far", "other"]
    assert tasks["other"].dag_ids == ["by_hand"]
    assert tasks["other"].hosts == [{"name": "other", "hostname": "other.example.com"}]


def test_a_folder_without_a_job_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with pytest.raises(ConfigError, match=r"no job in .* Declare one, or give hosts="):
        SupervisorOrphansDAG(config_dir=tmp_path)


def test_what_is_serialised_names_the_password_and_has_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    monkeypatch.setenv("FAR_PASSWORD", "top-secret")
    text = str(DagSerialization.to_dict(SupervisorOrphansDAG(config_dir=folder)))
    assert "FAR_PASSWORD" in text
    assert "top-secret" not in text
