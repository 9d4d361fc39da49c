"""Nothing piles up in a root: what nobody has used for a month goes, what runs or is installed stays."""

import contextlib
import os
import shutil
import time

from .root import Root

KEEP = 30 * 86400.0


def prune(root: Root, age: "float | None" = KEEP, size: "int | None" = None) -> "list[str]":
    """Remove old agents and runners, and the logs and records of jobs removed long ago; return what went.

    The caller holds the root's lock.

    :param age: seconds for which the files of a job that was removed are kept, None for ever.
    :param size: how many bytes they may have together, None for no limit; the oldest go first.
    """
    now = time.time()
    over = [path for path in programs(root) if newest_change(path) < now - KEEP]
    total = 0
    for changed, path in sorted(((newest_change(path), path) for path in removed_jobs(root)), reverse=True):
        total += bytes_in(path)
        if (age is not None and changed < now - age) or (size is not None and total > size):
            over.append(path)
    gone = []
    for path in over:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            gone.append(path)
    return gone


def programs(root: Root) -> "list[str]":
    """Return the agents and runners of other versions; each agent touches its own file when it starts."""
    with contextlib.suppress(OSError), open(root.runner) as runner, open(root.boot) as boot:
        current = runner.read() + boot.read()
        folder = os.path.join(root.path, "agent")
        files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
        return [path for path in files if os.path.basename(path).split(".")[0] not in current]
    return []


def removed_jobs(root: Root) -> "list[str]":
    """Return the folders of jobs that are no longer installed, and of which nothing lives."""
    folder = os.path.join(root.path, "jobs")
    found = []
    for job in os.listdir(folder):
        if root.read_job(job) is None:
            places = [root.place(job, name) for name in os.listdir(os.path.join(folder, job))]
            if all(place.is_free() for place in places if os.path.isdir(place.folder)):
                found.append(os.path.join(folder, job))
    return found


def below(path: str) -> "list[str]":
    """Return a path, and all files below it."""
    return [path] + [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]


def newest_change(path: str) -> float:
    """Return when anything at or below a path last changed."""
    with contextlib.suppress(OSError):
        return max(os.lstat(each).st_mtime for each in below(path))
    return time.time()


def bytes_in(path: str) -> int:
    """Return how much of the disk a path and all below it take."""
    with contextlib.suppress(OSError):
        return sum(os.lstat(each).st_blocks * 512 for each in below(path))
    return 0
