"""What a run goes by survives Airflow's database."""

from __future__ import annotations

import json

import pytest

from airflow_supervisor_jobs.config import Cleanup, Host, Job, Program
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.triggers.pin import Pin, pinned_cleanup, this_machine

JOB = Job(name="feed", host=Host(name="site", hostname="h", password_env="PW"), programs={"feed": Program(command="x")})

#: As version 0.1.0 wrote it: what lies in a database when a deployment is upgraded.
STORED = {
    "format": 1,
    "job": "feed",
    "hash": "abc",
    "host": {"name": "site", "hostname": "h", "password_env": "PW", "supervisord": {}},
    "owner": {"dag_id": "feed", "run_id": "r"},
    "processes": ["feed"],
    "policy": {
        "host": "site",
        "job": "feed",
        "programs": {"feed": {"exitcodes": [0], "essential": True}},
        "skip_on_exit_code": [],
        "runtime": None,
        "endtime": None,
        "check_timeout": None,
        "unreachable_timeout": None,
        "on_expire": "success",
        "watched_from": None,
        "started_at": None,
        "unreachable_from": None,
    },
    "if_running": "adopt",
    "maxretrigger": 0,
    "stop_on_exit": True,
    "cleanup": False,
    "reference_date": "2026-01-02T00:00:00+00:00",
    "machine": None,
    "secrets": [{"env": "TOKEN"}],
}


def test_what_an_older_version_stored_is_read() -> None:
    pin = Pin.from_dict(STORED)
    assert pin.resolved_host() == JOB.host
    assert pin.watch_policy == WatchPolicy.for_job(JOB)
    assert pin.to_dict() == STORED


def test_what_a_newer_version_added_is_left_out() -> None:
    assert Pin.from_dict({**STORED, "format": 2, "new": 1}) == Pin.from_dict(STORED)


def test_it_is_json() -> None:
    pin = Pin.from_dict(STORED)
    assert Pin.from_dict(json.loads(json.dumps(pin.to_dict()))) == pin


def test_the_local_host_of_another_machine_is_refused() -> None:
    local = {**STORED, "host": {"name": "local"}}
    assert Pin.from_dict({**local, "machine": this_machine()}).resolved_host().is_local
    with pytest.raises(HostRefused, match="local/feed: the job was set up on worker-7"):
        Pin.from_dict({**local, "machine": "worker-7"}).resolved_host()


def test_a_watch_has_rules_of_its_own() -> None:
    pin = Pin.from_dict(STORED).with_policy(watched_from=7.0)
    assert pin.watch_policy.watched_from == 7.0
    assert Pin.from_dict(STORED).watch_policy.watched_from is None


@pytest.mark.parametrize(
    ("cleanup", "stored", "purges"),
    [
        (Cleanup.NEVER, False, {True: False, False: False}),
        (Cleanup.ON_SUCCESS, "on_success", {True: True, False: False}),
        (Cleanup.ALWAYS, True, {True: True, False: True}),
    ],
)
def test_cleanup_is_stored_as_older_versions_read_it(
    cleanup: Cleanup, stored: bool | str, purges: dict[bool, bool]
) -> None:
    assert pinned_cleanup(cleanup) == stored
    pin = Pin.from_dict({**STORED, "cleanup": stored})
    assert {succeeded: pin.purges(succeeded=succeeded) for succeeded in (True, False)} == purges
