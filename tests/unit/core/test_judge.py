"""Each case of tests/cases/verdict comes out as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_supervisor_jobs.core.judge import View, judge
from airflow_supervisor_jobs.core.policy import ProgramPolicy, WatchPolicy
from airflow_supervisor_jobs.core.status import ProcessStatus

FOLDER = Path(__file__).parents[2] / "cases" / "verdict"
CASES = {
    f"{path.stem}: {name}": case
    for path in sorted(FOLDER.glob("*.yaml"))
    for name, case in yaml.safe_load(path.read_text()).items()
}


def policy_of(fields: dict[str, Any]) -> WatchPolicy:
    programs = {name: ProgramPolicy(**program) for name, program in fields.pop("programs", {}).items()}
    return WatchPolicy(host="trading-1", job="market_feed", programs=programs, **fields)


def status_of(process: str, fields: dict[str, Any]) -> ProcessStatus:
    raw = {"job": "market_feed", "program": process, "process": process, "generation": 1, **fields}
    if raw.get("record"):
        raw["record"] = {
            "generation": 1,
            "exit_code": raw.get("exit_code"),
            "signal": raw.get("signal"),
            **raw["record"],
        }
    return ProcessStatus.from_wire(raw)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_judge(case: dict[str, Any]) -> None:
    statuses = {name: status_of(name, fields) for name, fields in case["processes"].items()}
    view = View(statuses=statuses, **{"ended_s": dict.fromkeys(statuses, 1.0), **case.get("view", {})})

    judgement = judge(policy_of(dict(case.get("policy", {}))), view, now=case.get("now", 0.0))

    want = dict(case["want"])
    for text in want.pop("says", ()):
        assert text in judgement.message
    assert {key: judgement.to_dict()[key] for key in want} == want


def test_every_case_is_found() -> None:
    assert len(CASES) > 50
