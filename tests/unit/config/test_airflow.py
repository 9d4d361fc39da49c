"""The options of a run that more than one form of is taken for, or that do not fit together."""

from __future__ import annotations

import pytest

from airflow_supervisor_jobs.config import Cleanup, make_job
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.exceptions import ConfigError


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (True, Cleanup.ALWAYS),
        ("yes", Cleanup.ALWAYS),
        ("always", Cleanup.ALWAYS),
        (False, Cleanup.NEVER),
        ("off", Cleanup.NEVER),
        ("never", Cleanup.NEVER),
        ("on_success", Cleanup.ON_SUCCESS),
    ],
)
def test_cleanup_takes_a_word_or_a_boolean(written: bool | str, means: Cleanup) -> None:
    assert make_job({"command": "x", "cleanup": written}, name="feed").airflow.cleanup is means


@pytest.mark.parametrize(
    ("written", "means"),
    [(True, "all"), ("all", "all"), (False, "none"), ("none", "none"), ("off", "none"), ("tail", "tail")],
)
def test_forward_logs_takes_a_word_or_a_boolean(written: bool | str, means: str) -> None:
    job = make_job({"command": "x", "forward_logs": written, "max_log_rate": "100KB"}, name="feed")
    policy = WatchPolicy.for_job(job)
    assert (policy.forward_logs.value, policy.max_log_rate) == (means, 102_400)


@pytest.mark.parametrize(("option", "value"), [("forward_logs", "some"), ("max_log_rate", 0), ("max_log_rate", "fast")])
def test_another_word_for_what_is_forwarded_is_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=option):
        make_job({"command": "x", option: value}, name="feed")


def test_another_word_for_cleanup_is_refused() -> None:
    with pytest.raises(ConfigError, match="cleanup: must be 'never', 'on_success' or 'always'"):
        make_job({"command": "x", "cleanup": "sometimes"}, name="feed")


@pytest.mark.parametrize("name", ["restart_on_initial", "restart_on_retrigger"])
def test_what_is_refused_cannot_be_restarted(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: restarts what if_running: fail refuses"):
        make_job({"command": "x", "if_running": "fail", name: True}, name="feed")


@pytest.mark.parametrize("value", [None, -1, "endless"])
def test_runs_without_number_cannot_be_asked_for(value: object) -> None:
    with pytest.raises(ConfigError, match="maxretrigger"):
        make_job({"command": "x", "maxretrigger": value}, name="feed")
