"""What a watch leaves in the task's log and in its event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_supervisor_jobs.core.status import ProcessStatus
from airflow_supervisor_jobs.core.verdict import Judgement, Verdict
from airflow_supervisor_jobs.hosts.watch import Changed, Concluded, Contact, Output
from airflow_supervisor_jobs.triggers.journal import Journal, refined_state


class Lines(list[str]):
    """A logger that keeps what it is given."""

    def info(self, message: str, /, *arguments: Any) -> None:
        self.append(message % arguments)

    warning = info


def status(**changes: Any) -> ProcessStatus:
    raw = {"job": "feed", "program": "feed", "process": "feed", "phase": "running", "state": "RUNNING"}
    return ProcessStatus.from_wire({**raw, "pid": 5, "generation": 2, "started_at": 90.0, **changes})


def ended(**changes: Any) -> ProcessStatus:
    return status(phase="ended", pid=None, ended_at=100.0, exit_code=3, **changes)


def test_lines_are_marked_by_process_and_stream() -> None:
    lines = Lines()
    journal = Journal(lines)
    journal.note(Output("feed", "stdout", 1, 0, 3, None, "hi"))
    journal.note(Output("feed", "stderr", 1, 0, 3, None, "100 % [oops]"))
    assert lines == ["[feed] hi", "[feed:stderr] 100 % [oops]"]


def test_the_event_has_the_judgement_and_when_the_end_was_noticed() -> None:
    lines, now = Lines(), iter([95.0, 101.0])
    journal = Journal(lines, clock=lambda: next(now))
    journal.note(Changed(status()))
    journal.note(Changed(ended()))
    judgement = Judgement(Verdict.FAILED, "feed exited with 3", exit_code=3, program="feed")
    journal.note(Concluded(judgement, {"feed": ended(state="EXITED")}))
    event = json.loads(json.dumps(journal.event()))
    assert Judgement.from_dict(event["judgement"]) == judgement
    record = event["records"]["feed"]
    assert (record["watched_from"], record["ended_at"], record["noticed_at"]) == (95.0, 100.0, 101.0)
    assert record["exit_code"] == 3
    assert lines == ["feed: RUNNING, pid 5 (generation 2)", "feed: EXITED, exit code 3 (generation 2)"]


def test_there_is_no_event_before_the_conclusion() -> None:
    with pytest.raises(ValueError, match="concluded"):
        Journal(Lines()).event()


def test_it_knows_since_when_the_host_is_out_of_sight() -> None:
    now = iter([40.0, 50.0])
    journal = Journal(Lines(), clock=lambda: next(now))
    journal.note(Contact(reachable=False, error="cut"))
    assert journal.unreachable_from == 50.0
    journal.note(Contact(reachable=False, error="still"))
    assert journal.unreachable_from == 50.0
    journal.note(Contact(reachable=True))
    assert journal.unreachable_from is None


def test_it_says_that_a_host_out_of_sight_is_there_again_and_lets_nobody_in() -> None:
    lines, now = Lines(), iter([40.0, 50.0, 60.0])
    journal = Journal(lines, clock=lambda: next(now))
    journal.note(Contact(reachable=False, error="cut"))
    assert journal.refused_from is None
    journal.note(Contact(reachable=False, error="another host key", refused=True))
    assert (journal.unreachable_from, journal.refused_from) == (50.0, 60.0)
    assert "lets nobody in" in lines[-1]
    journal.note(Contact(reachable=True))
    assert journal.refused_from is None


@pytest.mark.parametrize(
    ("state", "reason", "refined"),
    [
        ("RUNNING", "exited", "EXITED"),
        ("RUNNING", "stopped", "STOPPED"),
        ("STOPPING", "terminated", "STOPPED"),
        ("FATAL", "could_not_start", "FATAL"),
        (None, "exited", None),
    ],
)
def test_the_exit_record_is_ahead_of_supervisord(state: str | None, reason: str, refined: str | None) -> None:
    assert refined_state(ended(state=state, record={"generation": 2, "reason": reason})) == refined
