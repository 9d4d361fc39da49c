"""Each case of tests/cases/restart comes out as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_supervisor_jobs.core.restart import RestartAction, RestartDecision, decide_restart
from airflow_supervisor_jobs.core.verdict import Verdict

FILE = Path(__file__).parents[2] / "cases" / "restart" / "retriggers.yaml"
CASES = yaml.safe_load(FILE.read_text())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_decide_restart(case: dict[str, Any]) -> None:
    verdict = Verdict(case["verdict"]) if case["verdict"] else None

    decision = decide_restart(verdict, count=case["count"], maxretrigger=case["maxretrigger"])

    assert decision == RestartDecision(RestartAction(case["action"]), case["reason"], case["next"])


def test_every_verdict_has_a_case() -> None:
    told = {case["verdict"] for case in CASES.values()}
    assert told == {None, *(verdict.value for verdict in Verdict if verdict is not Verdict.RUNNING)}
