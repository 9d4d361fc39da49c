"""From files to jobs: each pass takes what the one before it made.

read ▸ long form ▸ overrides ▸ defaults list ▸ compose (Hydra) ▸ interpolations ▸ host ▸ program defaults ▸ own daemon
▸ validate

What files alone decide is kept after Hydra's pass, and before the next one looks into the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from airflow_supervisor_jobs.config.assemble import with_own_daemon, with_program_defaults
from airflow_supervisor_jobs.config.dag import write_moment
from airflow_supervisor_jobs.config.diagnose import Places, diagnose
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.library import SUFFIX, WRONG_SUFFIX, Library, find_config_dir, given_config_dir
from airflow_supervisor_jobs.config.names import check_name
from airflow_supervisor_jobs.config.overrides import parse_host_overrides, parse_overrides
from airflow_supervisor_jobs.config.recipe import Recipe, compose_recipe, keep_recipe, recall_recipe
from airflow_supervisor_jobs.config.short_form import to_long_form
from airflow_supervisor_jobs.config.source import Keys, Source, parse_source
from airflow_supervisor_jobs.config.values import FROM_FILE
from airflow_supervisor_jobs.exceptions import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)


def load_job(name: str, overrides: Sequence[str] = (), config_dir: Path | str | Library | None = None) -> Job:
    """Return the job that ``job/NAME.yaml`` declares.

    :param overrides: ``key=value`` in Hydra's grammar: ``host=staging``, ``runtime=2h``, ``programs.feed.command=…``.
    :param config_dir: the folder of configuration; by default ``configs``, looked up from the calling file upward. Who
        loads many jobs gives what :func:`open_library` returns.
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


def open_library(config_dir: Path | str | None = None) -> Library:
    """Return a folder of configuration; its hosts and policies are read once, whatever happens to them meanwhile.

    :param config_dir: by default ``configs``, looked up from the calling file upward.
    :raises ConfigError: it is not there.
    """
    return Library(find_config_dir() if config_dir is None else given_config_dir(config_dir))


def job_names(config_dir: Path | str | Library | None = None) -> list[str]:
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
        source = Source(str(path), data=any_job)
        _finish(_prepare(Library(file.parent.parent), source, "any", overrides), "any", file)
        return None
    return load_file(path, overrides, config_dir)


def make_job(
    data: Mapping[str, Any], *, name: str, overrides: Sequence[str] = (), config_dir: Path | str | None = None
) -> Job:
    """Return the job that ``data`` declares, as a file of that name would; its values may also be Python's, or models.

    :raises ConfigError: what is wrong in it.
    """
    source = Source(label=name, data={key: _plain(value) for key, value in data.items() if key != "source"})
    return _finish(_prepare(_library_for(None, config_dir), source, name, overrides), name, None)


def load_host(name: str, overrides: Sequence[str] = (), config_dir: Path | str | None = None) -> Host:
    """Return the host that ``host/NAME.yaml`` declares; ``local`` is always there.

    :raises ConfigError: there is none, or what is wrong in it.
    """
    library = _library_for(None, config_dir)
    body = Source(label=f"host {name}", data={"host": name})
    wanted = parse_host_overrides(overrides)
    recipe = compose_recipe(library, body, wanted)
    return _validate(Host, recipe.resolved()["host"], [*reversed(wanted), *recipe.sources[1:]], within=("host",))


def _load(library: Library, path: Path, overrides: Sequence[str]) -> Job:
    name = path.stem
    try:
        _check_suffix(path, library)
        text = library.read(path)
        recalled = None if overrides else _recalled(library, text, path)
        if recalled is not None:
            return recalled
        source = parse_source(text, label=library.label(path))
        _check_own_name(source, name)
        recipe = _prepare(library, source, name, overrides)
        job = _finish(recipe, name, path)
    except ConfigError as error:
        raise type(error)(error.message, job=name) from error
    keep_recipe(recipe, library, name, text)
    return job


def _recalled(library: Library, text: str, path: Path) -> Job | None:
    """Return the job if an earlier process has composed it; whatever is wrong is found, with its place, without."""
    try:
        recipe = recall_recipe(library, path.stem, text)
        return _finish(recipe, path.stem, path) if recipe else None
    except ConfigError:
        return None


def _check_suffix(path: Path, library: Library) -> None:
    if path.suffix == WRONG_SUFFIX and path.absolute().parent.name == "job":
        raise ConfigError(f"{library.label(path)}: call it {path.stem}{SUFFIX}")


def _check_own_name(source: Source, name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigError(f"{source.label}: the file's name is the job's: {error}") from error
    if source.data.get("name", name) != name:
        raise ConfigError(f"{source.find(('name',))}: a job's name is that of its file, {name!r}. Leave it out")


def _prepare(library: Library, source: Source, name: str, overrides: Sequence[str]) -> Recipe:
    long = to_long_form(source, program=name)
    return compose_recipe(library, long, parse_overrides(overrides, long.data))


def _finish(recipe: Recipe, name: str, path: Path | None) -> Job:
    data = recipe.resolved()
    if data.get("name", name) != name:
        label = recipe.sources[0].label if recipe.sources else name
        raise ConfigError(f"{label}: a job's name is that of its file, {name!r}, and no override or policy changes it")
    data = with_own_daemon(with_program_defaults({**data, "name": name, "source": path}), job=name)
    places: list[Places] = [*reversed(recipe.overrides), *recipe.sources]
    return _validate(Job, data, places, context=FROM_FILE if path else None)


def _validate(
    model: type[_Model], data: Any, places: Sequence[Places], *, within: Keys = (), context: str | None = FROM_FILE
) -> _Model:
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(diagnose(error, model, places, within=within)) from error


def _plain(value: Any) -> Any:
    """Return Python data as YAML would have it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return write_moment(value) if isinstance(value, datetime) else to_jsonable_python(value)


def _library(config_dir: Path | str | Library | None) -> Library:
    return config_dir if isinstance(config_dir, Library) else open_library(config_dir)


def _library_for(file: Path | None, config_dir: Path | str | None) -> Library:
    """Return the library that is given or found; what the package ships where there is none."""
    if config_dir is not None:
        return _library(config_dir)
    try:
        return Library(find_config_dir(file))
    except ConfigError:
        return Library(None)
