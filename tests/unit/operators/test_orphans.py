"""What the sweep's task asks of Airflow, and what it makes of a host's answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_supervisor_jobs.core.orphans import HeldJob, Run, RunState
from airflow_supervisor_jobs.operators.orphans import SupervisorOrphansOperator, TaskAirflow, in_words
from tests.services.ssh import free_port

PIN = {"job": "feed", "owner": {}, "host": {"name": "far", "hostname": "far.example.com"}}


class Instance(SimpleNamespace):
    """A task instance of an Airflow with these runs of the DAG ``feed``, each with the state of its watch."""

    dag_id, run_id, task_id = "supervisor_orphans", "now", "far"

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str] | None = None) -> int:
        found = [self.runs.get((dag_id, run_id)) for run_id in run_ids]
        return sum(state is not None and (states is None or state in states) for state in found)

    def get_ti_count(self, *, dag_id: str, task_ids: list[str], states: list[str]) -> int:
        assert task_ids == ["watch_programs"]
        return sum(dag == dag_id and state in states for (dag, _), state in self.watches.items())

    def get_task_states(self, *, dag_id: str, task_ids: list[str]) -> dict[str, Any]:
        self.fetched.append(dag_id)
        return {run: {task_ids[0]: state} for (dag, run), state in self.watches.items() if dag == dag_id}

    def xcom_pull(self, *, dag_id: str, run_id: str, task_ids: str) -> Any:
        assert (dag_id, task_ids) == ("feed", "configure_supervisord")
        return None if run_id == "never_configured" else {**PIN, "owner": owner(run_id)}


def instance(**more: Any) -> Any:
    return Instance(**{"runs": {}, "watches": {}, "fetched": [], **more})


def owner(run_id: str) -> dict[str, str]:
    return {"deployment": "this-airflow", "dag_id": "feed", "run_id": run_id}


@pytest.fixture(autouse=True)
def _deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SUPERVISOR_JOBS_DEPLOYMENT", "this-airflow")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("success", RunState.OVER),
        ("failed", RunState.OVER),
        ("running", RunState.ACTIVE),
        ("queued", RunState.ACTIVE),
        (None, RunState.UNKNOWN),
    ],
)
def test_a_run_is_over_only_when_airflow_says_that_it_has_ended(said: str | None, state: RunState) -> None:
    ti = instance(runs={("feed", "first"): said})
    airflow = TaskAirflow(ti)
    assert airflow.deployment == "this-airflow"
    assert airflow.state_of(Run("feed", "first")) is state


def test_watches_are_asked_for_only_where_there_are_more_than_jobs() -> None:
    watches = {("feed", "first"): "deferred", ("feed", "before"): "success", ("other", "first"): "deferred"}
    ti = instance(watches=watches)
    airflow = TaskAirflow(ti, dag_ids=["feed"])
    assert airflow.watches([HeldJob(job="feed", owner=owner("first"))]) == []
    assert ti.fetched == []
    (watch,) = airflow.watches([])
    assert (watch.run, watch.task_id, watch.pin["job"]) == (Run("feed", "first"), "watch_programs", "feed")


def test_a_watch_without_a_pin_is_not_judged() -> None:
    ti = instance(watches={("feed", "never_configured"): "running"})
    assert TaskAirflow(ti, dag_ids=["feed"]).watches([]) == []


@pytest.mark.parametrize("stop", [True, False])
def test_a_host_out_of_reach_fails_a_try_and_one_that_refuses_the_task(stop: bool) -> None:
    gone = {"name": "far", "hostname": "127.0.0.1", "port": free_port(), "username": "ann", "conn_timeout": 5}
    with pytest.raises(AirflowException, match="far: ") as unreachable:
        SupervisorOrphansOperator(task_id="far", hosts=[gone], stop=stop).execute({"ti": instance()})  # type: ignore[typeddict-item]
    assert not isinstance(unreachable.value, AirflowFailException)
    no_password = {**gone, "password_env": "NOT_SET_ANYWHERE"}
    with pytest.raises(AirflowFailException, match="NOT_SET_ANYWHERE"):
        SupervisorOrphansOperator(task_id="far", hosts=[no_password], stop=stop).execute({"ti": instance()})  # type: ignore[typeddict-item]


def test_words_name_host_job_process_and_pid() -> None:
    finding = {"host": "far", "job": "feed", "process": "p", "pid": 7}
    assert in_words(finding) == "far/feed:p (pid 7)"
    assert in_words({**finding, "job": None, "process": None, "pid": None}) == "far/unknown"
