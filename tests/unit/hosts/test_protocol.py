"""The conversation as bytes: framing, pairing, and what a hostile host may not do."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_supervisor_jobs.exceptions import AgentError, JobBusy, ProtocolError
from airflow_supervisor_jobs.hosts.protocol import MAX_LINE, MAX_REQUEST, Answer, Conversation, Event, Refused


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def asked(verb: str = "ping", **params: Any) -> tuple[Conversation, int]:
    conversation = Conversation("far")
    number, _ = conversation.ask(verb, params)
    return conversation, number


def status(**changes: Any) -> dict[str, Any]:
    return {
        "job": "j",
        "program": "p",
        "process": "p",
        "group": "j",
        "state": "RUNNING",
        "phase": "running",
        "pid": 7,
        "runner_pid": 6,
        "generation": 1,
        "owner": None,
        "started_at": 1.5,
        "ended_at": None,
        "exit_code": None,
        "signal": None,
        "restarts": 0,
        "record": None,
        "stdout": None,
        "stderr": None,
        "positions": {"stdout": {"start": 0, "end": 0}, "stderr": None},
        **changes,
    }


def test_a_request_is_one_line_of_json_with_a_growing_id() -> None:
    conversation = Conversation("far")
    first, sent = conversation.ask("start", {"job": "a\nb"})
    second, _ = conversation.ask("ping", {})
    assert sent.count(b"\n") == 1
    assert sent.endswith(b"\n")
    assert json.loads(sent) == {"id": first, "verb": "start", "params": {"job": "a\nb"}}
    assert second > first > 0


def test_a_request_longer_than_an_agent_takes_is_not_sent() -> None:
    with pytest.raises(ValueError, match="more than"):
        Conversation("far").ask("install", {"spec": "x" * MAX_REQUEST})


@given(cuts=st.lists(st.integers(0, 300)))
def test_answers_arrive_however_their_bytes_are_cut(cuts: list[int]) -> None:
    conversation, number = asked()
    other, _ = conversation.ask("status2", {})
    data = line(event="beat") + line(id=other, result={"b": "ü"}) + line(id=number, result={"now": 1})
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    found = [message for piece in pieces for message in conversation.receive(piece)]
    assert found == [Answer(other, {"b": "ü"}), Answer(number, {"now": 1})]


@pytest.mark.parametrize(("code", "kind"), [("busy", JobBusy), ("not_installed", AgentError)])
def test_a_refusal_has_its_code_and_what_it_is_about(code: str, kind: type[AgentError]) -> None:
    conversation, number = asked("start")
    refusal = line(id=number, error={"code": code, "message": "no", "job": "j", "program": None})
    (refused,) = conversation.receive(refusal)
    assert isinstance(refused, Refused)
    assert type(refused.error) is kind
    assert (refused.error.code, refused.error.host, refused.error.job) == (code, "far", "j")


def test_events_are_told_apart_by_their_watch_and_unknown_ones_are_no_error() -> None:
    state = {"event": "state", "sub": 3, "process": status()}
    data = line(**state) + line(event="news", sub=3) + line(event="gone", sub=4)
    found = list(Conversation("far").receive(data))
    assert [(event.sub, event.body["event"]) for event in found if isinstance(event, Event)] == [
        (3, "state"),
        (4, "gone"),
    ]


LOG = {"event": "log", "sub": 1, "process": "p", "stream": "stdout", "generation": 1, "position": 0}
LOG |= {"time": None, "data": "aGk=", "lost": 0}


def test_a_log_event_passes_as_it_came() -> None:
    (event,) = Conversation("far").receive(line(**LOG))
    assert isinstance(event, Event)
    assert event.body == LOG


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"\n",
        b"[1]\n",
        b'"text"\n',
        b"[" * 100_000 + b"\n",
        b"1" * 10_000 + b"\n",
        b"\xff\xfe\n",
        line(id=99, result={}),
        line(id=True, result={}),
        line(id="1", result={}),
        line(id=None, error={"code": "bad_request", "message": "no"}),
        line(id=1),
        line(id=1, result=[]),
        line(id=1, error="no"),
        line(id=1, error={"code": 3, "message": "no"}),
        line(**{**LOG, "sub": "1"}),
        line(**{**LOG, "position": -1}),
        line(**{**LOG, "stream": "stdin"}),
        line(**{**LOG, "data": "not base64!"}),
        line(**{**LOG, "data": 5}),
        line(event="state", sub=1, process=status(exit_code=256)),
        line(event="state", sub=1, process=status(signal=0)),
        line(event="state", sub=1, process=status(phase="dancing")),
        line(event="state", sub=1, process={}),
        line(event="owner", sub=1, owner={"a": 1}),
        b"x" * (MAX_LINE + 1) + b"\n",
        b"x" * (MAX_LINE + 1),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_no_agent_says_ends_the_conversation(data: bytes) -> None:
    conversation, _ = asked("status2")
    with pytest.raises(ProtocolError) as malformed:
        list(conversation.receive(data))
    assert malformed.value.host == "far"
    assert len(str(malformed.value)) < 1000
    assert str(malformed.value).isprintable()


def test_an_answer_of_the_wrong_shape_ends_the_conversation() -> None:
    conversation, number = asked("start")
    with pytest.raises(ProtocolError, match="processes"):
        list(conversation.receive(line(id=number, result={"processes": [status(pid="7")]})))


def test_an_answer_counts_once() -> None:
    conversation, number = asked()
    answer = line(id=number, result={})
    assert list(conversation.receive(answer)) == [Answer(number, {})]
    with pytest.raises(ProtocolError):
        list(conversation.receive(answer))


@given(data=st.binary(max_size=400))
def test_no_bytes_do_worse_than_end_the_conversation(data: bytes) -> None:
    conversation, _ = asked()
    with contextlib.suppress(ProtocolError):
        list(conversation.receive(data + b"\n"))
