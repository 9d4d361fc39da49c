"""A policy and a judgement survive Airflow's database."""

from __future__ import annotations

import json

import pytest

from airflow_supervisor_jobs.core.policy import Forward, ProgramPolicy, WatchPolicy
from airflow_supervisor_jobs.core.verdict import Judgement, Outcome, Verdict

POLICY = WatchPolicy(
    host="trading-1",
    job="market_feed",
    programs={"feed": ProgramPolicy((0, 3)), "side": ProgramPolicy(essential=False)},
    skip_on_exit_code=(99,),
    runtime=60.5,
    endtime=1000.0,
    check_timeout=5.0,
    unreachable_timeout=6.0,
    on_expire=Outcome.SKIPPED,
    forward_logs=Forward.TAIL,
    max_log_rate=100.0,
    watched_from=900.0,
    started_at=890.0,
    unreachable_from=950.0,
)
JUDGEMENT = Judgement(Verdict.FAILED, "it did", exit_code=3, program="feed", last_lines=("a", "b"))


@pytest.mark.parametrize("policy", [POLICY, WatchPolicy("h", "j")])
def test_a_policy_survives_json(policy: WatchPolicy) -> None:
    assert WatchPolicy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


def test_a_judgement_survives_json() -> None:
    assert Judgement.from_dict(json.loads(json.dumps(JUDGEMENT.to_dict()))) == JUDGEMENT


def test_what_a_newer_version_added_is_left_out() -> None:
    assert WatchPolicy.from_dict({**POLICY.to_dict(), "newer": 1}) == POLICY
    assert Judgement.from_dict({**JUDGEMENT.to_dict(), "newer": 1}) == JUDGEMENT


def test_every_verdict_ends_a_watch_one_way() -> None:
    ways = {verdict: Judgement(verdict, "").outcome() for verdict in Verdict if verdict is not Verdict.RUNNING}
    assert {verdict for verdict, way in ways.items() if way is Outcome.SUCCESS} == {Verdict.FINISHED, Verdict.EXPIRED}
    assert {verdict for verdict, way in ways.items() if way is Outcome.SKIPPED} == {
        Verdict.SKIPPED,
        Verdict.SUPERSEDED,
    }
    assert None not in ways.values()


@pytest.mark.parametrize("on_expire", list(Outcome))
def test_the_user_says_how_an_expired_job_ends(on_expire: Outcome) -> None:
    assert Judgement(Verdict.EXPIRED, "").outcome(on_expire=on_expire) is on_expire


def test_a_watch_that_goes_on_has_no_outcome() -> None:
    assert Judgement(Verdict.UNREACHABLE, "", final=False).outcome() is None
