"""Restarting by another run, and what an operator says when it has nothing to go by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, DagRunTriggerException

from airflow_supervisor_jobs.operators.base import RESTARTED_KEY, VERDICT_KEY
from airflow_supervisor_jobs.operators.programs import BEGAN_KEY, CONF_KEY, RestartProgramsOperator, next_run_id

PIN = {
    "format": 1,
    "job": "feed",
    "hash": "abc",
    "host": {"name": "local"},
    "owner": {},
    "processes": ["feed"],
    "policy": {"host": "local", "job": "feed"},
    "if_running": "adopt",
    "maxretrigger": 2,
    "stop_on_exit": True,
    "cleanup": False,
    "reference_date": "2026-01-02T00:00:00+00:00",
}


class Instance(SimpleNamespace):
    """A task instance whose XComs are a mapping by task and key."""

    dag_id, run_id, next_run = "feed", "manual__1", None

    def xcom_pull(self, *, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms["restart_programs", key] = value

    def get_dr_count(self, *, dag_id: str, run_ids: list[str]) -> int:
        assert (dag_id, run_ids) == ("feed", [next_run_id(self.run_id, 1)])
        return 0 if self.next_run is None else 1

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str | None:
        assert (dag_id, run_id) == ("feed", next_run_id(self.run_id, 1))
        return self.next_run


def context(verdict: str | None, *, conf: dict[str, Any] | None = None, **instance: Any) -> Any:
    xcoms = {
        ("configure_supervisord", "return_value"): PIN,
        ("start_programs", BEGAN_KEY): 5.0,
        ("watch_programs", VERDICT_KEY): verdict,
    }
    ti = Instance(xcoms=xcoms, **instance)
    return {"ti": ti, "dag_run": SimpleNamespace(conf=conf or {}, run_id=ti.run_id)}


def handed(count: int) -> dict[str, Any]:
    """Return the conf of a run that a failed one has triggered."""
    before = f"manual__1__restart_{count - 1}" if count > 1 else "manual__1"
    return {CONF_KEY: {"count": count, "restart_of": before}} if count else {}


def restart(given: Any) -> DagRunTriggerException:
    with pytest.raises(DagRunTriggerException) as raised:
        RestartProgramsOperator(task_id="restart_programs").perform(given)
    return raised.value


def test_a_failure_asks_for_the_next_run() -> None:
    asked = restart(context("failed", conf={"mine": 1}))
    assert (asked.trigger_dag_id, asked.dag_run_id) == ("feed", "manual__1__restart_1")
    assert asked.conf["mine"] == 1
    assert asked.conf[CONF_KEY] == {
        "count": 1,
        "reference_date": PIN["reference_date"],
        "started_at": 5.0,
        "restart_of": "manual__1",
    }


def test_the_next_runs_are_counted() -> None:
    given = context("lost", conf=handed(1), run_id="manual__1__restart_1")
    given["ti"].get_dr_count = lambda **_: 0
    assert restart(given).dag_run_id == "manual__1__restart_2"


def test_the_runtime_counts_from_the_first_run() -> None:
    given = context("failed")
    began = {**PIN, "policy": {**PIN["policy"], "started_at": 3.0}}
    given["ti"].xcoms["configure_supervisord", "return_value"] = began
    assert restart(given).conf[CONF_KEY]["started_at"] == 3.0


def test_a_run_with_the_conf_of_a_restarted_one_is_a_first_one() -> None:
    asked = restart(context("failed", conf=handed(2)))
    assert asked.dag_run_id == "manual__1__restart_1"
    assert asked.conf[CONF_KEY]["count"] == 1


@pytest.mark.parametrize(
    ("verdict", "count"),
    [("failed", 2), ("finished", 0), ("stopped", 0), ("unreachable", 0), ("expired", 0), (None, 0)],
)
def test_nothing_else_does(verdict: str | None, count: int) -> None:
    given = context(verdict, conf=handed(count), run_id=f"manual__1__restart_{count}" if count else "manual__1")
    with pytest.raises(AirflowSkipException):
        RestartProgramsOperator(task_id="restart_programs").perform(given)


def test_a_run_never_comes_twice() -> None:
    given = context("failed", next_run="queued")
    assert RestartProgramsOperator(task_id="restart_programs").perform(given) is None
    assert given["ti"].xcoms["restart_programs", RESTARTED_KEY] == "manual__1__restart_1"


def test_a_run_that_is_over_does_not_go_on_with_the_job() -> None:
    given = context("failed", next_run="failed")
    with pytest.raises(AirflowSkipException, match="manual__1__restart_1, which is over"):
        RestartProgramsOperator(task_id="restart_programs").perform(given)
    assert ("restart_programs", RESTARTED_KEY) not in given["ti"].xcoms


def test_without_a_pin_it_says_what_to_do() -> None:
    given = {"ti": Instance(xcoms={}), "dag_run": SimpleNamespace(conf={})}
    with pytest.raises(AirflowException, match=r"configure_supervisord .* clear it"):
        RestartProgramsOperator(task_id="restart_programs").perform(given)


def test_the_ids_of_restarts_do_not_grow() -> None:
    assert next_run_id("scheduled__x", 1) == "scheduled__x__restart_1"
    assert next_run_id("scheduled__x__restart_9", 10) == "scheduled__x__restart_10"
