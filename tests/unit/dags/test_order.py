"""What has begun goes before what has not: else a full pool would be full of jobs that nobody watches or stops."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

from airflow.serialization.serialized_objects import DagSerialization

from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG


def weights(dag: SupervisorDAG) -> list[int]:
    """Return what the scheduler goes by, for each task in its turn."""
    known = DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict
    tasks = [known[task.task_id] for task in dag.topological_sort()]
    return [task.weight_rule.get_weight(SimpleNamespace(task=task)) for task in tasks]


def test_the_nearer_to_its_end_a_run_is_the_sooner_it_goes_on() -> None:
    found = weights(SupervisorDAG(job={"name": "feed", "command": "true"}))
    assert all(before < after for before, after in pairwise(found))


def test_default_args_may_have_another_order() -> None:
    dag = SupervisorDAG(job={"name": "feed", "command": "true"}, default_args={"weight_rule": "absolute"})
    assert weights(dag) == [1] * 8
