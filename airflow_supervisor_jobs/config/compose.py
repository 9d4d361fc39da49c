"""The one door to Hydra: a job's file and the groups that its defaults list names become one mapping.

Hydra's own composition is used piece by piece, because the public function loads Hydra's configuration of itself
each time, which is several times the work, and because nothing of a process's own Hydra is touched so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from airflow_supervisor_jobs.config.interpolation import PRIMARY, CompositionError, explain

_SCHEME = "supervisor-jobs"
_LOCK = threading.Lock()
_FILES: ContextVar[Files] = ContextVar("files")


@dataclass(frozen=True)
class Composition:
    """What was composed, its interpolations as they were written.

    :param choices: the file that was chosen from each group.
    :param names: what went into it, by ``GROUP/NAME``, besides the file that it starts from.
    """

    data: dict[str, Any]
    choices: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """The files that a composition may draw from, besides the one that it starts from.

    :param primary: the content of the one that it starts from, with a defaults list.
    :param names: the others, by ``GROUP/NAME``.
    :param read: gives the content of one of them.
    """

    primary: Mapping[str, Any]
    names: Collection[str]
    read: Callable[[str], Mapping[str, Any]]


def compose(files: Files, *, overrides: Sequence[str] = ()) -> Composition:
    """Return the composition of the primary file.

    A policy's content belongs at the top, that of any other file in its group.

    :param overrides: in Hydra's grammar.
    :raises CompositionError: it cannot be composed.
    """
    with _LOCK, _hydra(files):
        try:
            return _compose(list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise _explain(error) from error


def _compose(overrides: list[str]) -> Composition:
    loader = ConfigLoaderImpl(_search_path())
    parsed = OverridesParser.create().parse_overrides(overrides)
    loader.validate_sweep_overrides_legal(parsed, run_mode=RunMode.RUN, from_shell=False)
    repository = CachingConfigRepository(loader.repository)  # which is asked for each file several times
    defaults = create_defaults_list(
        repo=repository, config_name=PRIMARY, overrides_list=parsed, prepend_hydra=False, skip_missing=False
    )
    config = loader._compose_config_from_defaults_list(defaults=defaults.defaults, repo=repository)
    loader._apply_overrides_to_config(defaults.config_overrides, config)
    choices = {str(group): str(name) for group, name in defaults.overrides.known_choices.items()}
    names = tuple(str(each.config_path) for each in defaults.defaults if each.config_path != PRIMARY)
    return Composition(cast("dict[str, Any]", OmegaConf.to_container(config)), choices, names)


def _search_path() -> ConfigSearchPathImpl:
    path = ConfigSearchPathImpl()
    path.append("main", f"{_SCHEME}://")
    path.append("schema", "structured://")
    return path


@contextmanager
def _hydra(files: Files) -> Iterator[None]:
    """Make ``files`` what Hydra reads, and leave the version base of a Hydra application around us as it was."""
    Plugins.instance()
    SourcesRegistry.instance().register(_Source)
    base = version.VersionBase.instance()
    before = base.version_base
    version.setbase("1.3")
    token = _FILES.set(files)
    try:
        yield
    finally:
        _FILES.reset(token)
        base.version_base = before


class _Source(ConfigSource):
    """Hydra's view of the files."""

    @staticmethod
    def scheme() -> str:
        return _SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml")
        files = _FILES.get()
        if not self.is_config(name):
            raise ConfigLoadError(f"{name} is not there")
        package = "_global_" if name.startswith("policy/") else None
        config = OmegaConf.create(dict(files.primary if name == PRIMARY else files.read(name)))
        return ConfigResult(provider=self.provider, path=name, config=config, header={"package": package})

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return any(name.startswith(f"{config_path.rstrip('/')}/") for name in _FILES.get().names)

    def is_config(self, config_path: str) -> bool:
        return config_path.removesuffix(".yaml") in {PRIMARY, *_FILES.get().names}

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:  # noqa: ARG002
        prefix = f"{config_path}/" if config_path else ""
        return sorted({name[len(prefix) :].split("/")[0] for name in _FILES.get().names if name.startswith(prefix)})


def _explain(error: HydraException | OmegaConfBaseException) -> CompositionError:
    cause = error.__cause__ or error.__context__
    if isinstance(error, OmegaConfBaseException):
        return explain(error, key=str(error.full_key or ""))
    if isinstance(cause, OmegaConfBaseException):
        return _explain(cause)
    return explain(error)
