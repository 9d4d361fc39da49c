"""From files to jobs: each pass takes what the one before it made.

read ▸ long form ▸ overrides ▸ defaults list ▸ compose (Hydra) ▸ host ▸ program defaults ▸ own daemon ▸ validate
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from airflow_supervisor_jobs.config.assemble import (
    with_defaults_list,
    with_host,
    with_own_daemon,
    with_program_defaults,
)
from airflow_supervisor_jobs.config.dag import write_moment
from airflow_supervisor_jobs.config.diagnose import Places, diagnose, find_place
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.library import SUFFIX, WRONG_SUFFIX, Library, find_config_dir, given_config_dir
from airflow_supervisor_jobs.config.names import check_name
from airflow_supervisor_jobs.config.overrides import Override, parse_host_overrides, parse_overrides
from airflow_supervisor_jobs.config.short_form import to_long_form
from airflow_supervisor_jobs.config.source import Keys, Source, read_source
from airflow_supervisor_jobs.config.values import FROM_FILE
from airflow_supervisor_jobs.exceptions import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)

_CACHE: dict[str, Job] = {}
_CACHE_SIZE = 10_000


def load_job(name: str, overrides: Sequence[str] = (), config_dir: Path | str | None = None) -> Job:
    """Return the job that ``job/NAME.yaml`` declares.

    :param overrides: ``key=value`` in Hydra's grammar: ``host=staging``, ``runtime=2h``, ``programs.feed.command=…``.
    :param config_dir: the folder of configuration; by default ``configs``, looked up from the calling file upward.
    :raises JobNotFound: there is no such file.
    :raises ConfigError: what is wrong in it, with file, line and column.
    """
    library = _library(config_dir)
    return _load(library, library.job(name), overrides)


def load_jobs(
    config_dir: Path | str | None = None, *, overrides: Sequence[str] = (), errors: list[ConfigError] | None = None
) -> dict[str, Job]:
    """Return all jobs by name.

    :param errors: gets an error, with its ``job``, for each file that is broken; the others are returned.
    :raises ConfigError: what is wrong in all of them, where no list of errors is given.
    """
    library = _library(config_dir)
    jobs: dict[str, Job] = {}
    found: list[ConfigError] = []
    for name, path in library.jobs.items():
        try:
            jobs[name] = _load(library, path, overrides)
        except ConfigError as error:  # noqa: PERF203
            found.append(error)
    if errors is not None:
        errors += found
    elif found:
        raise ConfigError("\n".join(map(str, found)))
    return jobs


def job_names(config_dir: Path | str | None = None) -> list[str]:
    """Return the names of all jobs without reading their files."""
    return list(_library(config_dir).jobs)


def load_file(path: Path | str, overrides: Sequence[str] = (), config_dir: Path | str | None = None) -> Job:
    """Return the job that any YAML file declares.

    :param config_dir: where hosts and policies are; by default looked up from the file upward, else the package's.
    :raises ConfigError: what is wrong in it, with file, line and column.
    """
    file = Path(path)
    return _load(_library_for(file, config_dir), file, overrides)


def check_file(
    path: Path | str, overrides: Sequence[str] = (), config_dir: Path | str | None = None
) -> Job | Host | None:
    """Return what a YAML file declares: a host, if its folder is called ``host``, else a job; None for a policy.

    :raises ConfigError: what is wrong in it, with file, line and column.
    """
    file = Path(path).absolute()
    if file.parent.name == "host":
        return load_host(file.stem, overrides, file.parent.parent)
    if file.parent.name == "policy":
        any_job = {"command": "true", "defaults": [{"policy": file.stem}]}
        _build(Library(file.parent.parent), Source(str(path), data=any_job), "any", overrides, path=file)
        return None
    return load_file(path, overrides, config_dir)


def make_job(
    data: Mapping[str, Any], *, name: str, overrides: Sequence[str] = (), config_dir: Path | str | None = None
) -> Job:
    """Return the job that ``data`` declares, as a file of that name would; its values may also be Python's, or models.

    :raises ConfigError: what is wrong in it.
    """
    source = Source(label=name, data={key: _plain(value) for key, value in data.items() if key != "source"})
    return _build(_library_for(None, config_dir), source, name, overrides, path=None)


def load_host(name: str, overrides: Sequence[str] = (), config_dir: Path | str | None = None) -> Host:
    """Return the host that ``host/NAME.yaml`` declares; ``local`` is always there.

    :raises ConfigError: there is none, or what is wrong in it.
    """
    library = _library_for(None, config_dir)
    body = Source(label=f"host {name}", data={"host": name})
    wanted = parse_host_overrides(overrides)
    data, files = _compose(library, body, wanted)
    return _validate(Host, data["host"], [*reversed(wanted), *files], within=("host",))


def _load(library: Library, path: Path, overrides: Sequence[str]) -> Job:
    name = path.stem
    try:
        _check_suffix(path, library.label(path))
        source = read_source(path, label=library.label(path))
        _check_own_name(source, name)
        key = _key(library, source, overrides)
        if key not in _CACHE:
            if len(_CACHE) >= _CACHE_SIZE:
                _CACHE.clear()
            _CACHE[key] = _build(library, source, name, overrides, path=path)
    except ConfigError as error:
        raise type(error)(error.message, job=name) from error
    return _CACHE[key]


def _check_suffix(path: Path, label: str) -> None:
    if path.suffix == WRONG_SUFFIX and path.absolute().parent.name == "job":
        raise ConfigError(f"{label}: call it {path.stem}{SUFFIX}")


def _check_own_name(source: Source, name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigError(f"{source.label}: the file's name is the job's: {error}") from error
    if source.data.get("name", name) != name:
        raise ConfigError(f"{source.find(('name',))}: a job's name is that of its file, {name!r}. Leave it out")


def _build(library: Library, source: Source, name: str, overrides: Sequence[str], *, path: Path | None) -> Job:
    long = to_long_form(source, program=name)
    wanted = parse_overrides(overrides, long.data)
    data, files = _compose(library, long, wanted)
    if data.get("name", name) != name:
        raise ConfigError(
            f"{long.label}: a job's name is that of its file, {name!r}, and no override or policy changes it"
        )
    data = with_own_daemon(with_program_defaults({**data, "name": name, "source": path}), job=name)
    return _validate(Job, data, [*reversed(wanted), long, *files], context=FROM_FILE if path else None)


def _compose(library: Library, source: Source, overrides: Sequence[Override]) -> tuple[dict[str, Any], list[Source]]:
    """Return the composition and the files, besides ``source``, that went into it; the last to decide is first."""
    from airflow_supervisor_jobs.config import compose as hydra

    primary = with_defaults_list(source, library, overrides)
    read: list[Source] = []

    def reader(name: str) -> Mapping[str, Any]:
        read.insert(0, library.groups[name])
        return library.groups[name].data

    files = hydra.Files(primary, library.paths.keys(), reader)
    lines = [override.line for override in overrides if not override.choice]
    try:
        composition = hydra.compose(files, overrides=lines)
    except hydra.CompositionError as error:
        raise ConfigError(_placed(error, error.key, [source, *read], overrides)) from error
    return with_host(composition, chosen=composition.choices.get("host")), read


def _placed(error: ConfigError, key: str, sources: Sequence[Source], overrides: Sequence[Override]) -> str:
    """Return the message of an error with the place of ``key``, and the overrides as they were given."""
    keys: Keys = tuple(key.split(".")) if key else ()
    message = error.message
    for override in overrides:
        message = message.replace(override.line, override.text)
    return ": ".join(part for part in (find_place(keys, [*overrides, *sources]), key, message) if part)


def _validate(
    model: type[_Model], data: Any, places: Sequence[Places], *, within: Keys = (), context: str | None = FROM_FILE
) -> _Model:
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(diagnose(error, model, places, within=within)) from error


def _key(library: Library, source: Source, overrides: Sequence[str]) -> str:
    """The hash of everything that a job is made from."""
    reads_environment = "${" in source.text or library.has_interpolations
    environment = sorted(os.environ.items()) if reads_environment else None
    parts = (library.folder, library.digest, source.label, source.text, tuple(overrides), environment)
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _plain(value: Any) -> Any:
    """Return Python data as YAML would have it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return write_moment(value) if isinstance(value, datetime) else to_jsonable_python(value)


def _library(config_dir: Path | str | None) -> Library:
    return Library(find_config_dir() if config_dir is None else given_config_dir(config_dir))


def _library_for(file: Path | None, config_dir: Path | str | None) -> Library:
    """Return the library that is given or found; what the package ships where there is none."""
    if config_dir is not None:
        return _library(config_dir)
    try:
        return Library(find_config_dir(file))
    except ConfigError:
        return Library(None)
