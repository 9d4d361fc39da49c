"""What is wrong with a value is said in our words, with what to write."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_supervisor_jobs.config import make_job
from airflow_supervisor_jobs.exceptions import ConfigError


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"environment": "A=b"}, "programs.j.environment: must be a mapping, NAME: VALUE"),
        ({"restart": "often"}, "programs.j.restart: must be a mapping, NAME: VALUE"),
        ({"airflow": 5}, "airflow: must be a mapping, NAME: VALUE"),
        ({"params": ["a"]}, "dag.params: must be a mapping, NAME: VALUE"),
        ({"pool": 5}, "airflow.pool: must be text: put it in quotes"),
        ({"pool": ["a"]}, "airflow.pool: must be text"),
        ({"tags": {"a": "b"}}, "dag.tags: must be a list, like [a, b]"),
        ({"maxretrigger": -1}, "airflow.maxretrigger: must be 0 or more"),
        ({"maxretrigger": "many"}, "airflow.maxretrigger: must be a whole number"),
        ({"numprocs": 1.5}, "programs.j.numprocs: must be a whole number"),
        ({"numprocs": 2000}, "programs.j.numprocs: must be 1000 or less"),
        ({"check_interval": 0}, "airflow.check_interval: must be more than 0"),
        ({"runtime": "-8h"}, "airflow.runtime: '-8h' is not a duration: it must not be negative"),
        ({"runtime": [1]}, "airflow.runtime: must be a number"),
        (
            {"dagrun_timeout": [1]},
            "dag.dagrun_timeout: must be a duration: seconds, or a number with s, m, h or d, like '90s' or '2h'",
        ),
        (
            {"watch": "deferable"},
            "airflow.watch: must be 'deferrable', 'reschedule' or 'poke'. Did you mean 'deferrable'?",
        ),
        ({"watch": 5}, "airflow.watch: must be 'deferrable', 'reschedule' or 'poke'"),
        ({"catchup": 5}, "dag.catchup: must be true or false"),
        ({"start_date": "soon"}, "dag.start_date: must be a date or a time, like 2026-01-31 or 2026-01-31T08:00"),
        ({"exitcodes": []}, "programs.j.exitcodes: must not be empty"),
        ({"user": "a b"}, "programs.j.user: does not have its form, which is the pattern ^[^\\s:]+$"),
    ],
)
def test_a_value_is_told_what_it_must_be(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_job({"command": "x", **declared}, name="j")
    assert str(caught.value) == message
