"""Whatever a host says, the judgement is one of the closed set, and never better than the truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_supervisor_jobs.core.judge import View, judge
from airflow_supervisor_jobs.core.policy import ProgramPolicy, WatchPolicy
from airflow_supervisor_jobs.core.status import EndReason, ExitRecord, Phase, ProcessStatus, Stop, StopReason
from airflow_supervisor_jobs.core.verdict import Outcome, Verdict

NAMES = ("a", "b", "c")
records = st.builds(
    ExitRecord,
    generation=st.just(1),
    reason=st.sampled_from(EndReason),
    final=st.booleans(),
    stop=st.none() | st.builds(Stop, reason=st.sampled_from(StopReason)),
)


@st.composite
def statuses(draw: st.DrawFn, name: str) -> ProcessStatus:
    code = draw(st.none() | st.integers(0, 3))
    return ProcessStatus(
        job="job",
        program=name,
        process=name,
        phase=draw(st.sampled_from(Phase)),
        exit_code=code,
        signal=draw(st.integers(1, 64)) if code is None else None,
        record=draw(st.none() | records),
        owner=draw(st.sampled_from([None, {"run": "1"}, {"run": "2"}])),
    )


policies = st.builds(
    WatchPolicy,
    host=st.just("h"),
    job=st.just("job"),
    programs=st.dictionaries(
        st.sampled_from(NAMES), st.builds(ProgramPolicy, exitcodes=st.just((0, 1)), essential=st.booleans())
    ),
    skip_on_exit_code=st.sampled_from([(), (2,)]),
    runtime=st.none() | st.floats(0, 10),
    endtime=st.none() | st.floats(0, 10),
    check_timeout=st.none() | st.floats(0, 10),
    unreachable_timeout=st.none() | st.floats(0, 10),
)
views = st.builds(
    View,
    statuses=st.fixed_dictionaries({name: statuses(name) for name in NAMES}),
    owner=st.sampled_from([None, {"run": "1"}]),
    owner_now=st.sampled_from([None, {"run": "1"}, {"run": "2"}]),
    gone=st.booleans(),
    reachable=st.booleans(),
    watched_s=st.floats(0, 10),
    running_s=st.none() | st.floats(0, 10),
    unreachable_s=st.floats(0, 10),
    ended_s=st.fixed_dictionaries({name: st.floats(0, 100) for name in NAMES}),
)


@given(policies, views, st.floats(0, 10))
def test_the_verdict_is_never_better_than_the_truth(policy: WatchPolicy, view: View, now: float) -> None:
    judgement = judge(policy, view, now=now)

    assert judgement.message.startswith("h/job")
    essential = [status for status in view.statuses.values() if policy.is_essential(status.program)]
    assert essential
    if judgement.verdict is Verdict.FINISHED:
        assert all(status.has_ended and status.exit_code is not None for status in essential)
        assert all(status.exit_code in policy.program(status.program).exitcodes for status in essential)
    if judgement.verdict in (Verdict.RUNNING, Verdict.UNREACHABLE) and not judgement.final:
        assert judgement.outcome() is None
    else:
        assert judgement.outcome() in Outcome
    if judgement.program is not None:
        assert view.statuses[judgement.program].has_ended
        assert policy.is_essential(judgement.program)
    if judgement.verdict is Verdict.EXPIRED and judgement.program is None:
        assert view.reachable
