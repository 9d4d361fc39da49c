"""The passes between a file in its long form and data that the models can judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_supervisor_jobs.config.host import DEFAULT_ROOT, UNNAMED
from airflow_supervisor_jobs.config.library import Library
from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.overrides import Override
from airflow_supervisor_jobs.config.short_form import DAEMON_SECTIONS, GROUPS, PROGRAM_DEFAULTS
from airflow_supervisor_jobs.config.source import Source
from airflow_supervisor_jobs.config.values import is_template
from airflow_supervisor_jobs.exceptions import ConfigError

_LOCAL = "local"


def with_defaults_list(source: Source, library: Library, overrides: Sequence[Override]) -> dict[str, Any]:
    """Return the file's content with a defaults list that names all files that it is composed from.

    ``host: NAME`` becomes an entry of it, and so does what overrides choose; the file itself comes last.

    :raises ConfigError: the list is none, or a file that it names is not there.
    """
    body = {key: value for key, value in source.data.items() if key != "defaults"}
    entries = source.data.get("defaults") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{source.find(('defaults',))}: defaults is a list. Write '- policy: NAME' lines")
    for index, entry in enumerate(entries):
        _check_entry(entry, source.find(("defaults", index)) or source.label, library)
    chosen = {}
    if not isinstance(body.get("host"), dict | None):
        chosen["host"] = body.pop("host")
        _check_choice("host", chosen["host"], source.find(("host",)) or source.label, library)
    elif not body.get("host") and not any(isinstance(entry, dict) and "host" in entry for entry in entries):
        chosen["host"] = _LOCAL
    for override in overrides:
        if override.choice:
            chosen |= [override.choice]
            body.pop(override.key, None)
            _check_choice(*override.choice, f"override {override.text!r}", library)
    kept = [entry for entry in entries if not (isinstance(entry, dict) and chosen.keys() & entry.keys())]
    last = [] if "_self_" in kept else ["_self_"]
    return {"defaults": [*({group: name} for group, name in chosen.items()), *kept, *last], **body}


def _check_entry(entry: Any, place: str, library: Library) -> None:
    """Complain of a simple entry that names no file; what else Hydra knows is left to Hydra."""
    if not isinstance(entry, dict):
        return
    for group, names in entry.items():
        for name in names if isinstance(names, list) else [names]:
            if group in GROUPS and isinstance(name, str):
                _check_choice(group, name, place, library)


def _check_choice(group: str, name: Any, place: str, library: Library) -> None:
    if not isinstance(name, str):
        raise ConfigError(f"{place}: {group} is a name or a mapping")
    if is_template(name):
        raise ConfigError(
            f"{place}: which {group} it is must be known before a run. Put the Jinja into its fields, like hostname"
        )
    known = [each.removeprefix(f"{group}/") for each in library.paths if each.startswith(f"{group}/")]
    if name not in known and "${" not in name:
        guess = nearest(name, known)
        hint = f"Did you mean {guess!r}?" if guess else f"There are: {', '.join(sorted(known))}"
        raise ConfigError(f"{place}: there is no file {group}/{name}.yaml. {hint}")


def with_host(data: Mapping[str, Any], *, chosen: str | None) -> dict[str, Any]:
    """Return ``data`` with a host that has a name: its file's, or what it is reached by.

    :raises ConfigError: the host is something else than a mapping.
    """
    host = data.get("host") or {}
    if not isinstance(host, dict):
        raise ConfigError("host: is neither a name in the job's file nor a mapping. Write host: NAME there")
    name = chosen or host.get("hostname") or host.get("ssh_conn_id") or _LOCAL
    return {**data, "host": {"name": UNNAMED if is_template(str(name)) else name, **host}}


def with_program_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with the options of ``program_defaults`` in every program that does not set them itself."""
    defaults = data.get(PROGRAM_DEFAULTS) or {}
    rest = {key: value for key, value in data.items() if key != PROGRAM_DEFAULTS}
    programs = rest.get("programs")
    if not isinstance(programs, dict) or not isinstance(defaults, dict):
        return rest
    return {**rest, "programs": {name: merge(defaults, program) for name, program in programs.items()}}


def with_own_daemon(data: Mapping[str, Any], *, job: str) -> dict[str, Any]:
    """Return ``data`` with its daemon sections moved to the host, which gets a root of its own for them."""
    sections = {key: data[key] for key in DAEMON_SECTIONS if data.get(key) is not None}
    rest = {key: value for key, value in data.items() if key not in DAEMON_SECTIONS}
    if not sections:
        return rest
    host = rest["host"]
    root = f"{host.get('root') or DEFAULT_ROOT}-{job}"
    return {**rest, "host": {**merge(host, sections), "root": root}}


def merge(below: Any, above: Any) -> Any:
    """Return ``above`` where both say something, mappings merged key by key."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merge(below[key], item) if key in below else item for key, item in above.items()}}
