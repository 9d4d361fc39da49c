"""What is wrong, where it stands, and what was probably meant: pydantic's findings as one message for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.short_form import PROGRAM_DEFAULTS
from airflow_supervisor_jobs.config.source import Keys


class Places(Protocol):
    """Something that knows where things stand: a file, or an override."""

    def find(self, keys: Keys, *, of_key: bool = False) -> str | None:
        """Return the place of what ``keys`` lead to, or None if it is not here."""


def diagnose(error: ValidationError, model: type[BaseModel], sources: Sequence[Places], *, within: Keys = ()) -> str:
    """Return a line for each finding, as in ``file:line:column: key: what is wrong. The cure``.

    :param model: what was validated.
    :param sources: the files that it came from, the one that decides first.
    :param within: where in the files what was validated stands.
    """
    lines: dict[str, str] = {}
    for finding in error.errors(include_url=False, include_context=False):
        keys, line = _line(finding, model, sources, within)
        lines.setdefault(f"{keys} {finding['type'] == 'missing'}", line)
    return "\n".join(lines.values())


def _line(finding: ErrorDetails, model: type[BaseModel], sources: Sequence[Places], within: Keys) -> tuple[Keys, str]:
    is_unknown = finding["type"] == "extra_forbidden"
    keys, known = _follow(model, finding["loc"])
    place = _place((*within, *keys), sources, of_key=is_unknown or finding["type"] == "missing")
    subject = ".".join(map(str, keys))
    return keys, ": ".join(part for part in (place, subject, _message(finding, known)) if part)


def _message(finding: ErrorDetails, known: Sequence[str]) -> str:
    if finding["type"] == "extra_forbidden":
        guess = nearest(str(finding["loc"][-1]), known)
        return f"unknown key. Did you mean {guess!r}?" if guess else f"unknown key. Known are: {', '.join(known)}"
    if finding["type"] == "missing":
        return "is missing. Add it"
    message = re.sub(r"^(Value|Assertion) error, ", "", finding["msg"])
    return message[0].lower() + message[1:] if message.startswith("Input should") else message


def _follow(model: type[BaseModel], location: Keys) -> tuple[Keys, Sequence[str]]:
    """Return the keys of a location, without what pydantic adds about unions, and what the last could have been."""
    keys: list[str | int] = []
    known: Sequence[str] = ()
    kind: Any = model
    for part in location:
        members = _members(kind)
        if len(members) > 1:
            kind = next((member for member in members if getattr(member, "__name__", None) == part), None)
            continue
        kind, known = _step(members[0], part)
        if kind is None and not known:
            break
        keys.append(part)
    return tuple(keys), known


def _step(kind: Any, part: str | int) -> tuple[Any, Sequence[str]]:
    """Return the type of what ``part`` leads to in ``kind``, and which keys ``kind`` has."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
        return fields.get(str(part)), sorted(fields)
    if hasattr(kind, "__total__"):
        return kind.__annotations__.get(part), sorted(kind.__annotations__)
    if get_origin(kind) in (dict, list, tuple):
        return next(arg for arg in reversed(get_args(kind)) if arg is not Ellipsis), ()
    return None, ()


def _members(kind: Any) -> Sequence[Any]:
    """Return the types of a union but None, or the one type that it is."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for each in get_args(kind) if each is not type(None) for member in _members(each)]
    return [kind]


def _place(keys: Keys, sources: Sequence[Places], *, of_key: bool) -> str | None:
    """Return the place of the longest beginning of ``keys`` that is in a file."""
    for length in range(len(keys), -1, -1):
        for source in sources:
            for start in _spellings(keys[:length]):
                found = source.find(start, of_key=of_key and length == len(keys))
                if found and (length or source is sources[0]):
                    return found
    return None


def _spellings(keys: Keys) -> list[Keys]:
    is_program = len(keys) > 2 and keys[0] == "programs"
    return [keys, (PROGRAM_DEFAULTS, *keys[2:])] if is_program else [keys]
