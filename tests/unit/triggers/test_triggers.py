"""What Airflow stores of a trigger makes the same trigger again."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import DRCount, GetDRCount, GetTaskStates, TaskStatesResult
from airflow.triggers.base import BaseTrigger

from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from airflow_supervisor_jobs.triggers.request import SupervisorRequestTrigger
from airflow_supervisor_jobs.triggers.states import KILLED, is_over, task_state

TASK = {"dag_id": "feed", "run_id": "r", "task_id": "watch_programs", "map_index": -1}

#: Class paths and arguments as they lie in databases: never to be renamed.
STORED: list[tuple[str, dict[str, Any]]] = [
    (
        "airflow_supervisor_jobs.triggers.programs.SupervisorProgramsTrigger",
        {"pin": {"job": "feed"}, "task": TASK},
    ),
    (
        "airflow_supervisor_jobs.triggers.request.SupervisorRequestTrigger",
        {"host": {"name": "local"}, "verb": "stop", "params": {"job": "feed"}},
    ),
]


@pytest.mark.parametrize(("path", "kwargs"), STORED)
def test_what_is_stored_makes_the_trigger_again(path: str, kwargs: dict[str, Any]) -> None:
    module, _, name = path.rpartition(".")
    trigger: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    assert trigger.serialize() == (path, kwargs)


def test_both_are_known() -> None:
    known = {path.rpartition(".")[2] for path, _ in STORED}
    assert known == {SupervisorProgramsTrigger.__name__, SupervisorRequestTrigger.__name__}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"r": {"watch_programs": "deferred"}}, "deferred"),
        ({"r": {"watch_programs": None}}, None),
        ({"other": {"watch_programs": "failed"}}, None),
        ({}, None),
    ],
)
def test_the_state_of_the_waiting_task(states: dict[str, Any], expected: str | None) -> None:
    assert task_state(states, TASK) == expected


def test_the_state_of_a_mapped_task() -> None:
    assert task_state({"r": {"watch_programs_2": "failed"}}, {**TASK, "map_index": 2}) == "failed"


@pytest.mark.parametrize("state", ["deferred", "running", "scheduled", "queued", "up_for_retry", "restarting", None])
def test_a_task_that_goes_on_is_no_reason_to_stop(state: str | None) -> None:
    assert state not in KILLED


@pytest.mark.parametrize(
    ("states", "runs", "expected"),
    [
        ({"r": {"watch_programs": "failed"}}, 1, True),
        ({"r": {"watch_programs": "skipped"}}, 1, True),
        ({"r": {"watch_programs": "deferred"}}, 1, False),
        # A cleared task has no state, and is there.
        ({"r": {"watch_programs": None}}, 1, False),
        # The DAG was deleted.
        ({}, 0, True),
        # A clean-up of the database took the task of a run that goes on.
        ({"r": {}}, 1, False),
    ],
)
async def test_what_airflow_says_decides_whether_a_task_is_over(
    states: dict[str, Any], runs: int, expected: bool
) -> None:
    async def answer(message: Any) -> Any:
        assert message.dag_id == "feed"
        assert message.run_ids == ["r"]
        if isinstance(message, GetDRCount):
            return DRCount(count=runs)
        assert isinstance(message, GetTaskStates)
        return TaskStatesResult(task_states=states)

    assert await is_over(TASK, answer) is expected


async def test_an_airflow_that_does_not_answer_ends_nothing() -> None:
    async def nothing(message: Any) -> Any:
        return None

    assert not await is_over(TASK, nothing)
