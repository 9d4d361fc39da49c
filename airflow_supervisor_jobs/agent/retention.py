"""Nothing piles up in a root: what nobody has used for a month goes, what runs or is installed stays."""

import contextlib
import os
import shutil
import time

from .root import Root

KEEP = 30 * 86400.0


def prune(root: Root) -> "list[str]":
    """Remove old agents and runners, and the logs and records of jobs removed long ago; return what went.

    The caller holds the root's lock.
    """
    oldest = time.time() - KEEP
    gone = []
    for path in [*programs(root), *removed_jobs(root)]:
        if newest_change(path) < oldest:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                gone.append(path)
    return gone


def programs(root: Root) -> "list[str]":
    """Return the agents and runners of other versions; each agent touches its own file when it starts."""
    with contextlib.suppress(OSError), open(root.runner) as file:
        current = file.read()
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


def newest_change(path: str) -> float:
    """Return when anything at or below a path last changed."""
    paths = [path] + [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
    with contextlib.suppress(OSError):
        return max(os.lstat(each).st_mtime for each in paths)
    return time.time()
