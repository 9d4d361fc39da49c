"""What Airflow stores of a trigger makes the same trigger again."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from airflow_supervisor_jobs.triggers.request import SupervisorRequestTrigger
from airflow_supervisor_jobs.triggers.states import KILLED, task_state

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
