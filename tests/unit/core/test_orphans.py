"""Which jobs are orphans, and which never are."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_supervisor_jobs.config import Job
from airflow_supervisor_jobs.core.orphans import (
    HeldJob,
    Run,
    RunState,
    find_orphans,
    held_jobs,
    hosts_of,
    in_question,
    is_templated,
    seen_twice,
)
from airflow_supervisor_jobs.exceptions import ProtocolError

OURS = {"deployment": "ours", "dag_id": "feed", "run_id": "first", "task": "", "map_index": "-1"}
FIRST = Run("feed", "first")


def held(owner: dict[str, str] | None = OURS, *, phase: str = "running", **more: Any) -> HeldJob:
    process = {"job": "feed", "program": "feed", "process": "feed", "phase": phase, "generation": 1}
    (one,) = held_jobs({"jobs": [{"job": "feed", "owner": owner, "processes": [process], **more}]}, host="here")
    return one


@pytest.mark.parametrize("state", [RunState.OVER, RunState.UNKNOWN])
def test_a_job_whose_run_is_over_or_unknown_is_an_orphan(state: RunState) -> None:
    (orphan,) = find_orphans(in_question([held()], deployment="ours"), {FIRST: state})
    assert (orphan.held.job, orphan.run, orphan.state) == ("feed", FIRST, state)
    assert "feed/first" in orphan.reason


def test_a_job_whose_run_is_active_is_none() -> None:
    assert find_orphans([held()], {FIRST: RunState.ACTIVE}) == []


def test_a_job_of_whose_run_nothing_is_said_is_none() -> None:
    assert find_orphans([held()], {}) == []


@pytest.mark.parametrize(
    ("heir", "state", "is_orphan"),
    [
        ({**OURS, "run_id": "second"}, RunState.ACTIVE, False),
        ({**OURS, "run_id": "second"}, RunState.OVER, True),
        ({**OURS, "run_id": "second", "deployment": "theirs"}, RunState.UNKNOWN, False),
        ({"deployment": "cli", "user": "ann@desk"}, RunState.UNKNOWN, False),
        (OURS, RunState.OVER, True),
    ],
)
def test_a_job_that_somebody_is_about_to_take_over_is_none(
    heir: dict[str, str], state: RunState, is_orphan: bool
) -> None:
    states = {FIRST: RunState.OVER, Run("feed", "second"): state}
    assert bool(find_orphans([held(installed_by=heir)], states)) is is_orphan


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param({**OURS, "deployment": "theirs"}, id="another Airflow's"),
        pytest.param({"deployment": "cli", "user": "ann@desk"}, id="a person's"),
        pytest.param({"deployment": "ours", "user": "ann@desk"}, id="a person's, by a deployment of the same name"),
        pytest.param(None, id="nobody's"),
    ],
)
def test_only_jobs_of_our_own_runs_are_in_question(owner: dict[str, str] | None) -> None:
    assert in_question([held(owner)], deployment="ours") == []


def test_a_job_that_was_meant_to_outlive_its_run_is_not_in_question() -> None:
    assert in_question([held(outlives=True)], deployment="ours") == []
    assert len(in_question([held(outlives=False)], deployment="ours")) == 1


@pytest.mark.parametrize(
    ("phase", "lives"),
    [("starting", 1), ("running", 1), ("backoff", 1), ("stopping", 1), ("new", 0), ("ended", 0), ("lost", 0)],
)
def test_what_waits_to_be_restarted_lives(phase: str, lives: int) -> None:
    assert len(held(phase=phase).live) == lives


def test_only_what_is_an_orphan_at_both_looks_counts() -> None:
    over = {FIRST: RunState.OVER, Run("feed", "second"): RunState.OVER}
    first = find_orphans([held()], over)
    second = find_orphans([held({**OURS, "run_id": "second"})], over)
    assert seen_twice(first, find_orphans([held()], over)) == first
    assert seen_twice(first, second) == []
    assert seen_twice([], first) == []


def test_what_is_no_job_is_the_hosts_error() -> None:
    with pytest.raises(ProtocolError, match="here: the host sent"):
        held_jobs({"jobs": [{"job": 3}]}, host="here")
    with pytest.raises(ProtocolError, match="here: the host sent"):
        held_jobs({"jobs": 3}, host="here")


def job(job_name: str, **host: Any) -> Job:
    return Job.model_validate({"name": job_name, "host": host, "programs": {"p": {"command": "true"}}})


def test_each_root_on_a_host_is_looked_at_once() -> None:
    listener = {"username": "ann", "password": {"env": "PASSWORD"}, "port": "127.0.0.1:9001"}
    hosts = hosts_of(
        [
            job("a", name="far", hostname="far.example.com"),
            job("b", name="far", hostname="far.example.com", inet_http_server=listener),
            job("c", name="far", hostname="far.example.com", root="/srv/c"),
            job("d"),
        ]
    )
    assert [(host.name, host.root) for host in hosts] == [
        ("far", "/srv/c"),
        ("far", "~/.airflow-supervisor-jobs"),
        ("local", "~/.airflow-supervisor-jobs"),
    ]
    assert not any(host.inet_http_server for host in hosts)


def test_a_host_may_have_to_be_rendered_first() -> None:
    far, near = hosts_of([job("a", name="far", hostname="{{ var.value.far }}"), job("b")])
    assert (is_templated(far), is_templated(near)) == (True, False)
