"""What one process has composed, kept on disk for the next: Airflow reads a DAG file in a new process each time.

An entry is found by everything that decided what it is, so it is never out of date. It is JSON: reading it executes
nothing. One that is damaged or gone is made again, and where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: The environment variable that names the folder in which ours is; an empty text is: keep nothing.
FOLDER_VARIABLE = "SUPERVISOR_JOBS_CACHE"
#: How many entries are kept, a few kilobytes each, and for how many seconds one that nobody uses.
MOST_ENTRIES = 20_000
LONGEST_UNUSED_S = 30 * 86400

_NAME = "airflow-supervisor-jobs"
#: How exactly it is known when an entry was last used, in seconds.
_USED_S = 86400
#: What reads and composes, besides the modules beside this one.
_MAKERS = ("hydra-core", "omegaconf", "pyyaml")


def key_of(*parts: str) -> str:
    """Return the name of the entry that is made from ``parts`` by this version of us and of what we use."""
    return hashlib.sha256(repr((_makers(), parts)).encode("utf-8", "surrogateescape")).hexdigest()


def recall(key: str) -> Any:
    """Return what was kept under ``key``, or None."""
    for folder in _folders():
        with suppress(OSError, ValueError), (folder / key).open("rb") as file:
            digest, _, body = file.read().partition(b"\n")
            if digest == _digest(body):
                _note_use(folder / key, since_s=os.fstat(file.fileno()).st_mtime)
                return json.loads(body.decode())
    return None


def keep(key: str, document: Any) -> None:
    """A later process may recall ``document``, unless JSON would change it or no folder can be written."""
    try:
        body = json.dumps(document).encode()
    except (TypeError, ValueError):
        return
    if json.loads(body) != document:
        return
    for folder in _folders(make=True):
        with suppress(OSError):
            _prune(folder)
            _write(folder / key, _digest(body) + b"\n" + body)
            return


def _note_use(path: Path, *, since_s: float) -> None:
    if time.time() - since_s > _USED_S:
        with suppress(OSError):  # where nothing can be written, nothing goes either
            os.utime(path)


def _write(path: Path, content: bytes) -> None:
    """The file has all of the content, or is as it was: others may read and write it now."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is no path
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _folders(*, make: bool = False) -> Iterator[Path]:
    """Yield the folders that nobody else can write, the best first: else others could say what our jobs execute."""
    for folder in _candidates():
        with suppress(OSError):
            if make:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                yield folder


def _candidates() -> list[Path]:
    given = os.environ.get(FOLDER_VARIABLE)
    if given is not None:
        return [Path(given).expanduser().absolute() / _NAME] if given else []
    found = []
    with suppress(OSError, RuntimeError):  # nobody has a home here
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        found.append((base if base.is_absolute() else Path.home() / ".cache") / _NAME)
    with suppress(OSError):  # nor is there a place for temporary files
        found.append(Path(tempfile.gettempdir()) / f"{_NAME}-{os.geteuid()}")
    return found


@lru_cache(maxsize=1)
def _makers() -> str:
    modules = sorted(Path(__file__).parent.glob("*.py"))
    own = [hashlib.sha256(module.read_bytes()).hexdigest() for module in modules]
    return repr((sys.implementation.cache_tag, [version(name) for name in _MAKERS], own))


@lru_cache(maxsize=8)
def _prune(folder: Path) -> None:
    """Once a process: what nobody uses any more is gone, and so are the oldest of too many."""
    with os.scandir(folder) as entries:
        used = sorted(((entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries), reverse=True)
    for number, (when, path) in enumerate(used):
        if number >= MOST_ENTRIES or time.time() - when > LONGEST_UNUSED_S:
            Path(path).unlink(missing_ok=True)
