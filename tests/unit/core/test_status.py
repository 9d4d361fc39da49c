"""What a host says is checked, and read as people would."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_supervisor_jobs.core.status import ProcessStatus, signal_name
from airflow_supervisor_jobs.exceptions import ProtocolError

BASE = {"job": "j", "program": "p", "process": "p"}


def status(**fields: Any) -> ProcessStatus:
    return ProcessStatus.from_wire({**BASE, **fields}, host="trading-1")


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"phase": "running", "state": "RUNNING"}, "RUNNING"),
        ({"phase": "running", "state": None}, None),
        ({"phase": "backoff", "state": "RUNNING"}, "BACKOFF"),
        ({"phase": "ended", "state": "RUNNING", "exit_code": 0}, "EXITED"),
        ({"phase": "ended", "state": "RUNNING", "record": {"generation": 1, "reason": "stopped"}}, "STOPPED"),
        ({"phase": "ended", "state": "EXITED", "record": {"generation": 1, "reason": "terminated"}}, "STOPPED"),
        (
            {"phase": "ended", "state": "RUNNING", "record": {"generation": 1, "reason": "exited", "final": False}},
            "RUNNING",
        ),
        ({"phase": "ended", "state": "FATAL"}, "FATAL"),
    ],
)
def test_statename(fields: dict[str, Any], want: str | None) -> None:
    assert status(**fields).statename == want


@pytest.mark.parametrize("fields", [{}, {"phase": "dancing"}, {"phase": "running", "pid": "many"}])
def test_what_is_no_status_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="trading-1: the host sent a status that is none"):
        status(**fields)


def test_it_survives_json() -> None:
    known = status(phase="ended", record={"generation": 1, "reason": "exited", "exit_code": 3}, newer="thing")
    assert ProcessStatus.from_wire(known.to_dict()) == known


@pytest.mark.parametrize(("number", "want"), [(9, "SIGKILL (9)"), (15, "SIGTERM (15)"), (77, "signal 77")])
def test_signal_name(number: int, want: str) -> None:
    assert signal_name(number) == want
