"""What a person may ask for in a single run."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_supervisor_jobs.config import AirflowOptions
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.forced import force_params, forced_options

OPTIONS = AirflowOptions(runtime=60, endtime="17:00", maxretrigger=1, retries=2)
UNTOUCHED = {name: param.value for name, param in force_params().items()}


@pytest.mark.parametrize(
    ("params", "runtime", "endtime", "maxretrigger"),
    [
        ({}, 60, "17:00", 1),
        ({"force-run": True}, None, None, 1),
        ({"force-run": True, "force-maxretrigger": 0}, None, None, 0),
        ({"force-runtime": 90}, 90, "17:00", 1),
        ({"force-runtime": "2h"}, 7200, "17:00", 1),
        ({"force-runtime": ""}, 60, "17:00", 1),
        ({"force-endtime": "9:30"}, 60, "09:30", 1),
        ({"force-endtime": "18:00:30", "force-runtime": 5}, 5, "18:00:30", 1),
        ({"force-maxretrigger": 7}, 60, "17:00", 7),
    ],
)
def test_params_go_before_options(
    params: dict[str, Any], runtime: float | None, endtime: str | None, maxretrigger: int
) -> None:
    forced = forced_options(OPTIONS, {**UNTOUCHED, **params})
    assert (forced.runtime, forced.endtime, forced.maxretrigger, forced.retries) == (runtime, endtime, maxretrigger, 2)


def test_a_dag_without_these_params_is_as_its_job_says() -> None:
    assert forced_options(OPTIONS, {"other": 1}) == OPTIONS


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"force-runtime": "soon"}, "param force-runtime: 'soon' is not a duration. Write seconds"),
        ({"force-runtime": -1}, "param force-runtime: -1 is not a duration. It must be 0 or more"),
        ({"force-endtime": "25:00"}, "param force-endtime: '25:00' is not a time of day. Write HH:MM"),
        ({"force-maxretrigger": -1}, "param force-maxretrigger: must be 0 or more"),
        ({"force-run": True, "force-endtime": "18:00"}, "param force-endtime: force-run lifts that limit. Give one"),
    ],
)
def test_a_wrong_param_is_named(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        forced_options(OPTIONS, {**UNTOUCHED, **params})
    assert str(refused.value).startswith(words)
