"""What is wrong, where it stands, and what was probably meant: pydantic's findings as one message for people."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from airflow_supervisor_jobs.config.base import MisfitError
from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.short_form import DAEMON_SECTIONS, PROGRAM_DEFAULTS, meant, unknown
from airflow_supervisor_jobs.config.source import Keys
from airflow_supervisor_jobs.config.wording import message_of


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
    findings = error.errors(include_url=False)
    guesses = {_guess(finding, model) for finding in findings if finding["type"] == "extra_forbidden"}
    options = {meant(str(finding["loc"][0])) for finding in findings if _is_unknown_at_top(finding, within)}
    lines: dict[Keys, tuple[object, str]] = {}
    for finding in findings:
        keys, known = _follow(model, _location(finding))
        if finding["type"] == "missing" and (keys in guesses or keys[-1] in options):
            continue
        place = find_place((*within, *keys), sources, of_key=_is_about_key(finding))
        subject = ".".join(map(str, (*within, *keys)))
        words = (place, subject, _message(finding, known))
        if _is_unknown_at_top(finding, within):
            words = (place, "", unknown(subject))
        line = ": ".join(part for part in words if part)
        lines.setdefault(keys, (_in_reading_order(place), line))
    return "\n".join(line for _, line in sorted(lines.values()))


def _in_reading_order(place: str | None) -> tuple[str, list[int]]:
    file, *position = (place or "").split(":")
    return file, [int(number) for number in position if number.isdigit()]


def find_place(keys: Keys, sources: Sequence[Places], *, of_key: bool = False) -> str | None:
    """Return the place of what ``keys`` lead to, or of the nearest thing around it that is in a file."""
    for length in range(len(keys), -1, -1):
        for source in sources:
            for start in _spellings(keys[:length]):
                found = source.find(start, of_key=of_key and length == len(keys))
                if found and (length or source is sources[0]):
                    return found
    return None


def _location(finding: ErrorDetails) -> Keys:
    error = finding.get("ctx", {}).get("error")
    keys = finding["loc"] + (error.keys if isinstance(error, MisfitError) else ())
    return keys[:-1] if keys and keys[-1] == "[key]" else keys


def _is_about_key(finding: ErrorDetails) -> bool:
    return finding["type"] in ("extra_forbidden", "missing") or "[key]" in finding["loc"]


def _is_unknown_at_top(finding: ErrorDetails, within: Keys) -> bool:
    return finding["type"] == "extra_forbidden" and not within and len(finding["loc"]) == 1


def _guess(finding: ErrorDetails, model: type[BaseModel]) -> Keys:
    """Return the keys that those of an unknown key were probably meant to be."""
    keys, known = _follow(model, finding["loc"])
    return (*keys[:-1], nearest(str(keys[-1]), known) or "")


def _message(finding: ErrorDetails, known: Sequence[str]) -> str:
    if finding["type"] == "extra_forbidden":
        guess = nearest(str(finding["loc"][-1]), known)
        return f"unknown key. Did you mean {guess!r}?" if guess else f"unknown key. Known are: {', '.join(known)}"
    if finding["type"] == "missing":
        return "is missing. Add it"
    return message_of(finding)


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


def _spellings(keys: Keys) -> list[Keys]:
    """Return the ways to write ``keys`` in a file: what applies to all programs, and a daemon of the job's own."""
    if len(keys) > 2 and keys[0] == "programs":
        return [keys, (PROGRAM_DEFAULTS, *keys[2:])]
    if len(keys) > 1 and keys[0] == "host" and keys[1] in DAEMON_SECTIONS:
        return [keys, keys[1:]]
    return [keys]
