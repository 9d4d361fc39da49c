"""The short form: options of the only program, of Airflow and of the DAG at the top of a file.

No option's name is in two of the three, so a name alone says where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from airflow_supervisor_jobs.config.airflow import AirflowOptions
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.program import Program
from airflow_supervisor_jobs.config.source import Keys, Source
from airflow_supervisor_jobs.exceptions import ConfigError

PROGRAM_OPTIONS = frozenset(Program.model_fields)
AIRFLOW_OPTIONS = frozenset(AirflowOptions.model_fields)
DAG_OPTIONS = frozenset(DagOptions.__annotations__)
#: Sections that belong to a daemon: in a job, they give it one of its own.
DAEMON_SECTIONS = (
    "supervisord", "unix_http_server", "inet_http_server", "rpc_interfaces", "include", "supervisorctl",
)  # fmt: skip
#: Options that every program of the job has, unless it says otherwise.
PROGRAM_DEFAULTS = "program_defaults"
#: What else may stand at the top of a job's file, and of a policy's.
TOP = frozenset(Job.model_fields) - {"source"} | set(DAEMON_SECTIONS) | {"defaults", PROGRAM_DEFAULTS, "_target_"}

#: Groups of which an override chooses a file.
GROUPS = ("host", "policy")

_PLACES = {"airflow": AIRFLOW_OPTIONS, "dag": DAG_OPTIONS}

assert frozenset(DAEMON_SECTIONS) <= frozenset(Host.model_fields)  # noqa: S101


def to_long_form(source: Source, *, program: str | None) -> Source:
    """Return the file's content with every option in the section that it belongs to.

    :param program: the name that the only program gets; None for a policy, whose program options are defaults.
    :raises ConfigError: an option that is said twice, or one that belongs to one of several programs.
    """
    data: dict[str, Any] = {}
    moved: dict[Keys, Keys] = {}
    for key, value in source.data.items():
        if key in TOP:
            _put(data, (key,), value, source)
            continue
        keys = (*_section_of(key, source, program), key)
        _put(data, keys, value, source, at=(key,))
        moved[keys] = (key,)
    return replace(source, data=data, moved=moved)


def place_of(key: str, data: Mapping[str, Any]) -> str:
    """Return where, in the long form ``data``, the option ``key`` of an override belongs: ``airflow.runtime``.

    :raises ConfigError: it belongs to a program, and there are several.
    """
    first, dot, rest = key.partition(".")
    for section, options in _PLACES.items():
        if first in options:
            return f"{section}.{key}"
    if first in TOP or first in GROUPS:
        return key
    if first not in PROGRAM_OPTIONS:
        raise ConfigError(f"override {key!r}: {unknown(first)}")
    programs = list(data.get("programs") or {})
    if len(programs) != 1:
        raise ConfigError(f"override {key!r}: the job has {len(programs)} programs. Write programs.NAME.{key}")
    return f"programs.{programs[0]}.{first}{dot}{rest}"


def _section_of(key: str, source: Source, program: str | None) -> Keys:
    for section, options in _PLACES.items():
        if key in options:
            return (section,)
    if key in Job.model_fields:
        raise ConfigError(f"{source.find((key,), of_key=True) or source.label}: {unknown(key)}")
    if key not in PROGRAM_OPTIONS:
        return ()  # stays at the top, where it is found with all other mistakes
    if program is None:
        return (PROGRAM_DEFAULTS,)
    if "programs" in source.data:
        raise ConfigError(
            f"{source.find((key,), of_key=True) or source.label}: {key} belongs to a program, and there are programs "
            f"below. Write it under programs.NAME, or under {PROGRAM_DEFAULTS} for all"
        )
    return ("programs", program)


def _put(data: dict[str, Any], keys: Keys, value: Any, source: Source, *, at: Keys = ()) -> None:
    """Put ``value`` where ``keys`` lead, beside what is there already."""
    section: Any = data
    for key in keys[:-1]:
        section = section.setdefault(key, {})
    name = keys[-1]
    present = section.get(name)
    if isinstance(present, dict) and isinstance(value, dict):
        for key, item in value.items():
            _put(data, (*keys, key), item, source, at=(*(at or keys), key))
    elif name in section:
        raise ConfigError(
            f"{source.find(at or keys, of_key=True) or source.label}: {'.'.join(map(str, keys))} is said twice, "
            "at the top and in its section. Leave one out"
        )
    else:
        section[name] = deepcopy(value)


def unknown(key: str) -> str:
    """Return what to say of a key at the top of a file that is none."""
    guess = meant(key)
    return f"unknown key {key!r}. " + (
        f"Did you mean {guess!r}?" if guess else "docs/reference/options.md has them all"
    )


def meant(key: str) -> str | None:
    """Return the key at the top of a file that ``key`` was probably meant to be."""
    return nearest(key, TOP | PROGRAM_OPTIONS | AIRFLOW_OPTIONS | DAG_OPTIONS)
