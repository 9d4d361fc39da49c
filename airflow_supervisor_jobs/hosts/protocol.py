"""The client's side of docs/reference/protocol.md as a core that sees bytes and never a socket.

:class:`Conversation` frames requests, takes what arrives in pieces of any size, pairs answers with requests
and checks the shape and size of every line: a hostile host can end the conversation, and nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from airflow_supervisor_jobs.exceptions import AgentError, JobBusy, ProtocolError
from airflow_supervisor_jobs.hosts.messages import EVENTS, REFUSAL, RESULTS

#: The longest line that an agent may send, in bytes, and the longest request.
MAX_LINE = 1024 * 1024
MAX_REQUEST = 32 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """The result of request ``id``."""

    id: int
    result: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """Why request ``id`` was refused."""

    id: int
    error: AgentError


@dataclass(frozen=True)
class Event:
    """What the watch ``sub`` sent; ``size`` is its line's length in bytes, with the newline."""

    sub: int
    body: dict[str, Any]
    size: int


class Conversation:
    """Turns requests into bytes and bytes into answers and events.

    :param host: how people call the host, for messages.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._partial = bytearray()
        self._last_id = 0
        self._asked: dict[int, str] = {}

    def ask(self, verb: str, params: dict[str, Any]) -> tuple[int, bytes]:
        """Return the request's id and the line to send.

        :raises ValueError: the request is longer than an agent takes.
        """
        self._last_id += 1
        line = json.dumps({"id": self._last_id, "verb": verb, "params": params}, allow_nan=False).encode() + b"\n"
        if len(line) > MAX_REQUEST:
            raise ValueError(f"{self._host}: a {verb} of {len(line)} bytes is more than the {MAX_REQUEST} allowed.")
        self._asked[self._last_id] = verb
        return self._last_id, line

    def receive(self, data: bytes) -> Iterator[Answer | Refused | Event]:
        """Yield what the bytes complete; beats are swallowed.

        :raises ProtocolError: they are not what an agent says.
        """
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = bytes(self._partial) + line
            self._partial.clear()
            yield from self._read(whole)
        self._partial += rest
        if len(self._partial) > MAX_LINE:
            self._refuse(f"a line of more than {MAX_LINE} bytes")

    def _read(self, line: bytes) -> Iterator[Answer | Refused | Event]:
        if len(line) > MAX_LINE:
            self._refuse(f"a line of {len(line)} bytes")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._refuse("a line that is not JSON", line)
        if not isinstance(message, dict):
            self._refuse("a line that is no object", line)
        if "event" in message:
            yield from self._event(message, line)
        else:
            yield self._answer(message, line)

    def _answer(self, message: dict[str, Any], line: bytes) -> Answer | Refused:
        number = message.get("id")
        verb = self._asked.pop(number, None) if type(number) is int else None
        if number is None or verb is None:
            self._refuse("an answer to nothing that was asked", line)
        if "error" in message:
            return Refused(number, self._error(self._check(REFUSAL, message["error"], line)))
        result = message.get("result")
        if not isinstance(result, dict):
            self._refuse(f"no result of {verb}", line)
        if verb in RESULTS:
            self._check(RESULTS[verb], result, line)
        return Answer(number, result)

    def _event(self, message: dict[str, Any], line: bytes) -> Iterator[Event]:
        shape = EVENTS.get(message["event"]) if isinstance(message["event"], str) else None
        if shape is not None:
            self._check(shape, message, line)
            yield Event(message["sub"], message, len(line) + 1)

    def _check(self, shape: Any, value: Any, line: bytes) -> Any:
        try:
            return _validator(shape).validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._refuse(f"something malformed ({where}: {first['msg']})", line)

    def _error(self, refusal: dict[str, Any]) -> AgentError:
        kind = JobBusy if refusal["code"] == "busy" else AgentError
        return kind(
            refusal["message"],
            code=refusal["code"],
            host=self._host,
            job=refusal.get("job"),
            program=refusal.get("program"),
        )

    def _refuse(self, what: str, line: bytes = b"") -> NoReturn:
        quoted = f": {line[:200].decode('utf-8', 'replace')!a}" if line else ""
        raise ProtocolError(f"the agent sent {what}{quoted}. Is something else writing to its output?", host=self._host)


@cache
def _validator(shape: Any) -> TypeAdapter[Any]:
    """Return what checks a shape, made at its first use: a process that only reads DAG files needs none."""
    return TypeAdapter(shape)
