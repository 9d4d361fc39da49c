"""What a job is made of: its file and those that it draws from as one mapping, before the environment has its say.

Where files alone decided it, the next process is spared the work; no value of the environment is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_supervisor_jobs.config import cache
from airflow_supervisor_jobs.config.assemble import with_defaults_list, with_host
from airflow_supervisor_jobs.config.diagnose import find_place
from airflow_supervisor_jobs.config.interpolation import CompositionError, resolve
from airflow_supervisor_jobs.config.library import Library
from airflow_supervisor_jobs.config.overrides import Override
from airflow_supervisor_jobs.config.source import Keys, Source
from airflow_supervisor_jobs.exceptions import ConfigError


@dataclass(frozen=True)
class Recipe:
    """A composition.

    :param data: its interpolations are as they were written.
    :param host: the host's file that was chosen, if one was.
    :param files: what :meth:`Groups.fingerprint` says of each file that went into it, besides the one it began with.
    :param sources: where to look for mistakes: that one, then the others, the last to decide first.
    :param overrides: those that it was made with.
    :param is_lasting: nothing but files decided what it is.
    """

    data: Mapping[str, Any]
    host: str | None
    files: Mapping[str, str]
    sources: Sequence[Source] = ()
    overrides: Sequence[Override] = ()
    is_lasting: bool = True

    def resolved(self) -> dict[str, Any]:
        """Return the data with interpolations resolved, and a host that has a name.

        :raises ConfigError: an interpolation leads nowhere, or a value is missing.
        """
        try:
            return with_host(resolve(self.data), chosen=self.host)
        except CompositionError as error:
            raise _placed(error, self.sources, self.overrides) from error


def compose_recipe(library: Library, source: Source, overrides: Sequence[Override]) -> Recipe:
    """Return what the job, or host, that ``source`` declares is made of.

    :raises ConfigError: it cannot be composed.
    """
    from airflow_supervisor_jobs.config import compose as hydra

    primary = with_defaults_list(source, library, overrides)
    read: dict[str, Source] = {}

    def reader(name: str) -> Mapping[str, Any]:
        read[name] = library.groups[name]
        return read[name].data

    files = hydra.Files(primary, library.paths.keys(), reader)
    lines = [override.line for override in overrides if not override.choice]
    try:
        composition = hydra.compose(files, overrides=lines)
    except CompositionError as error:
        raise _placed(error, [source, *reversed(read.values())], overrides) from error
    sources = [source, *reversed(read.values())]
    # A defaults list may ask the environment, and name what some code has registered with Hydra. An override comes from
    # code or a command line, and may hold a secret.
    asks = any("${" in repr(each.data.get("defaults")) for each in sources)
    return Recipe(
        composition.data,
        composition.choices.get("host"),
        {name: library.groups.fingerprint(name) for name in read},
        sources,
        overrides,
        is_lasting=not asks and not overrides and read.keys() >= set(composition.names),
    )


def recall_recipe(library: Library, name: str, text: str) -> Recipe | None:
    """Return what an earlier process has composed of the job's ``text`` and of files that are the same now, or None.

    :raises ConfigError: one of them cannot be read.
    """
    kept = cache.recall(_key(library, name, text))
    if kept is None:
        return None
    recipe, groups = Recipe(**kept), library.groups
    same = all(name in groups and groups.fingerprint(name) == mark for name, mark in recipe.files.items())
    return recipe if same else None


def keep_recipe(recipe: Recipe, library: Library, name: str, text: str) -> None:
    """A later process may recall the recipe, if it is a lasting one."""
    if recipe.is_lasting:
        cache.keep(_key(library, name, text), {"data": recipe.data, "host": recipe.host, "files": recipe.files})


def _key(library: Library, name: str, text: str) -> str:
    return cache.key_of(name, text, *sorted(library.paths))


def _placed(error: CompositionError, sources: Sequence[Source], overrides: Sequence[Override]) -> ConfigError:
    """Return an error with the place of the key that it is about, and the overrides as they were given."""
    keys: Keys = tuple(error.key.split(".")) if error.key else ()
    message = error.message
    for override in overrides:
        message = message.replace(override.line, override.text)
    return ConfigError(
        ": ".join(part for part in (find_place(keys, [*overrides, *sources]), error.key, message) if part)
    )
