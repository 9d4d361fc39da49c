"""The table of all options, from the models: ``python -m airflow_supervisor_jobs.config.reference`` prints it."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airflow_supervisor_jobs.config.airflow import AirflowOptions
from airflow_supervisor_jobs.config.base import Owner
from airflow_supervisor_jobs.config.daemon import (
    Include,
    InetHttpServer,
    RpcInterface,
    Supervisorctl,
    Supervisord,
    UnixHttpServer,
)
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.documentation import option_texts
from airflow_supervisor_jobs.config.environment import Secret
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.program import ProcessOptions, Program, Restart
from airflow_supervisor_jobs.config.sections import EventListener, FcgiProgram, Group

#: The tables, in the order of the page: title, model, the model whose options are not repeated.
TABLES: tuple[tuple[str, type[BaseModel], type[BaseModel] | None], ...] = (
    ("A job", Job, None),
    ("programs.NAME — `[program:x]`", Program, None),
    ("programs.NAME.restart", Restart, None),
    ("programs.NAME.environment.NAME — a secret", Secret, None),
    ("groups.NAME — `[group:x]`", Group, None),
    ("fcgi_programs.NAME — `[fcgi-program:x]`", FcgiProgram, ProcessOptions),
    ("event_listeners.NAME — `[eventlistener:x]`", EventListener, ProcessOptions),
    ("airflow", AirflowOptions, None),
    ("host", Host, None),
    ("host.supervisord — `[supervisord]`", Supervisord, None),
    ("host.unix_http_server — `[unix_http_server]`", UnixHttpServer, None),
    ("host.inet_http_server — `[inet_http_server]`", InetHttpServer, None),
    ("host.rpc_interfaces.NAME — `[rpcinterface:x]`", RpcInterface, None),
    ("host.include — `[include]`", Include, None),
    ("host.supervisorctl — `[supervisorctl]`", Supervisorctl, None),
)

_INTRODUCTION = """\
# Options

Generated from the models by `python -m airflow_supervisor_jobs.config.reference`; do not edit.

How they are written is told in [configuration.md](configuration.md). *Acts* says who acts on an option: supervisord,
our runner on the host, our agent there, Airflow, the client that connects; a *refused* option is known and may only
have its default, for the reason that is given.
"""

_WORDS = {
    "Duration": "duration", "WholeSeconds": "seconds", "ByteSize": "size", "Boolean": "true, false", "Text": "text",
    "Plain": "text", "str": "text", "Name": "name", "Strings": "list", "ExitCodes": "exit codes", "Octal": "octal",
    "SignalName": "signal", "Clock": "HH:MM[:SS]", "Command": "text or list", "Environment": "mapping",
    "dict": "mapping", "int": "whole number", "float": "number", "AutoRestart": "true, false, unexpected",
    "Secret": "secret", "Schedule": "cron or preset", "HostKey": "public key", "Moment": "date or time",
    "Span": "duration", "_Count": "whole number",
}  # fmt: skip


def options_table() -> str:
    """Return the page of all options, in Markdown."""
    parts = [_INTRODUCTION, *(_table(title, model, without) for title, model, without in TABLES), _dag_table()]
    return "\n".join(parts)


def owner_of(field: FieldInfo) -> Owner | None:
    """Return who acts on an option, None for a section of options."""
    return next((each for each in field.metadata if isinstance(each, Owner)), None)


def _table(title: str, model: type[BaseModel], without: type[BaseModel] | None) -> str:
    inherited = f"\nAnd those of `[program:x]` above, but for ours: {_ours()}.\n" if without else ""
    rows = [_row(model, name, field) for name, field in _own_fields(model, without)]
    return "\n".join([f"## {title}", inherited, *_head("Option", "Type", "Default", "Acts", ""), *rows, ""])


def _own_fields(model: type[BaseModel], without: type[BaseModel] | None) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if (without is None or name not in without.model_fields or name in model.__annotations__) and name != "source":
            yield name, field


def _ours() -> str:
    names = [name for name in Program.model_fields if name not in ProcessOptions.model_fields]
    return ", ".join(f"`{name}`" for name in names)


def _row(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    owner = owner_of(field)
    acts = owner.value if owner else ""
    return _cells(
        f"`{field.alias or name}`", _type(model, name), _default(field), acts, _sentence(option_texts(model).get(name))
    )


def _dag_table() -> str:
    rows = [
        _cells(f"`{name}`", _words(str(_source_of(DagOptions.__annotations__[name]))), _sentence(text))
        for name, text in option_texts(DagOptions).items()
    ]
    return "\n".join(["## dag", "", *_head("Option", "Type", ""), *rows, ""])


def _head(*titles: str) -> list[str]:
    return [_cells(*titles), _cells(*("---" for _ in titles))]


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ({}, ()) or isinstance(value, BaseModel):
        return ""
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return value if isinstance(value, str) else json.dumps(value)


def _type(model: type[BaseModel], name: str) -> str:
    owner = next(base for base in model.__mro__ if name in inspect.get_annotations(base))
    text = str(inspect.get_annotations(owner)[name])
    word = _first_word(text)
    found = getattr(sys.modules[owner.__module__], word, None)
    if isinstance(found, type) and issubclass(found, Enum):
        return ", ".join(str(each.value) for each in found)
    return "section" if word not in _WORDS else _words(text)


def _words(text: str) -> str:
    return _WORDS[_first_word(text)]


def _first_word(text: str) -> str:
    match = re.match(r"(?:Annotated\[)*(\w+)", text)
    return match[1] if match else text


def _source_of(annotation: Any) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation))


if __name__ == "__main__":
    sys.stdout.write(options_table())
