"""A folder of configuration: its jobs, and the groups that they draw from, with the package's own behind them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.short_form import to_long_form
from airflow_supervisor_jobs.config.source import Source, parse_source
from airflow_supervisor_jobs.exceptions import ConfigError, JobNotFound

#: What a folder of configuration is called.
FOLDER = "configs"
#: What the name of a job's file ends in.
SUFFIX = ".yaml"
#: What it does not end in, though people write it.
WRONG_SUFFIX = ".yml"

_PACKAGED = Path(__file__).parent / "packaged"
_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Library:
    """The files of one folder of configuration, each but the jobs as it was when it was first read.

    :param folder: the folder; None has only what the package ships.
    """

    folder: Path | None

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Every file but the jobs, by ``GROUP/NAME``; the folder's own hide the package's."""
        folders = [_PACKAGED] if self.folder is None else [_PACKAGED, self.folder]
        return {name: path for folder in folders for name, path in _group_files(folder)}

    @property
    def jobs(self) -> dict[str, Path]:
        """The jobs' files by name, sorted; one that ends in ``.yml`` by its whole name, for an error of its own."""
        if self.folder is None:
            return {}
        files = [path for end in (SUFFIX, WRONG_SUFFIX) for path in (self.folder / "job").glob(f"*{end}")]
        files.sort(key=lambda path: path.name)
        return {path.stem if path.suffix == SUFFIX else path.name: path for path in files}

    def job(self, name: str) -> Path:
        """Return the file of a job.

        :raises JobNotFound: there is none of that name.
        """
        path = (self.folder or Path()) / "job" / f"{name}.yaml"
        if "/" not in name and path.is_file():
            return path
        misnamed = self.jobs.get(name) or self.jobs.get(name + WRONG_SUFFIX)
        if misnamed:
            return misnamed
        guess = nearest(name, self.jobs)
        hint = f"Did you mean {guess!r}?" if guess else f"There are: {', '.join(self.jobs) or 'none'}."
        raise JobNotFound(f"no file job/{name}.yaml in {self.folder}. {hint}", job=name)

    @cached_property
    def groups(self) -> Groups:
        """The content of every file but the jobs, read when it is asked for."""
        return Groups(self)

    def read(self, path: Path) -> str:
        """Return the text of a file.

        :raises ConfigError: it cannot be read.
        """
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.label(path)}: cannot be read: {error}") from error

    def source(self, path: Path) -> Source:
        """Return the content of a YAML file.

        :raises ConfigError: it cannot be read, or is not a YAML mapping with each key once.
        """
        return parse_source(self.read(path), label=self.label(path))

    def label(self, path: Path) -> str:
        """Return what messages call a file: its path from where people are, if it is below."""
        try:
            return str(path.resolve().relative_to(Path.cwd()))
        except ValueError:
            return str(path)


class Groups(Mapping[str, Source]):
    """The files of a library by ``GROUP/NAME``. A broken one is an error for those who ask for it."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._texts: dict[str, str] = {}
        self._fingerprints: dict[str, str] = {}
        self._sources: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Source:
        if name not in self._sources:
            source = parse_source(self._text(name), label=self._library.label(self._library.paths[name]))
            group = tuple(name.split("/")[:-1])
            self._sources[name] = _policy(source) if group == ("policy",) else replace(source, moved={group: ()})
        return self._sources[name]

    def fingerprint(self, name: str) -> str:
        """Return the hash of what a file says.

        :raises ConfigError: it cannot be read.
        """
        if name not in self._fingerprints:
            self._fingerprints[name] = hashlib.sha256(self._text(name).encode()).hexdigest()
        return self._fingerprints[name]

    def _text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = self._library.read(self._library.paths[name])
        return self._texts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._library.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._library.paths)

    def __len__(self) -> int:
        return len(self._library.paths)


def find_config_dir(start: Path | None = None) -> Path:
    """Return the nearest folder ``configs``, looked up from ``start`` upward.

    :param start: a folder or file; by default the file that calls this package.
    :raises ConfigError: there is none.
    """
    origin = (start or calling_file() or Path.cwd()).resolve()
    for folder in (origin, *origin.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    raise ConfigError(f"no folder {FOLDER!r} in {origin} or above it. Make one with job/NAME.yaml, or give config_dir")


def given_config_dir(folder: Path | str) -> Path:
    """Return the folder that was given; a relative one is looked for beside the calling file, then here.

    :raises ConfigError: it is not there.
    """
    path = Path(folder).expanduser()
    beside = calling_file()
    for base in (beside.parent, Path.cwd()) if beside else (Path.cwd(),):
        if (base / path).is_dir():
            return (base / path).resolve()
    raise ConfigError(f"there is no folder {path}. Give the folder that has job/NAME.yaml in it")


def calling_file() -> Path | None:
    """Return the file whose code called into this package, or None where it has no file."""
    frame = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back  # type: ignore[assignment]
    file = frame.f_code.co_filename if frame is not None else ""
    return Path(file) if os.path.isfile(file) else None  # noqa: PTH113 - "<stdin>" is no path


def _policy(source: Source) -> Source:
    if not isinstance(source.data.get("host", {}), dict):
        raise ConfigError(
            f"{source.find(('host',))}: a policy chooses no host. Write host: NAME in the job; a policy may change "
            "fields of it, as a mapping"
        )
    return to_long_form(source, program=None)


def _group_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for group in sorted(folder.iterdir()):
        if group.is_dir() and group.name != "job":
            for path in sorted(group.glob("**/*.yaml")):
                yield path.relative_to(folder).with_suffix("").as_posix(), path
