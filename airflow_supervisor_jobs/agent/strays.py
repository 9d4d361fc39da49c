"""Strays: processes that carry this root's mark, and that no runner answers for any more."""

import os

from .root import NAME, Root
from .runner import (
    MARK,
    all_processes,
    descendants,
    end_all,
    environment_of,
    is_runner,
    is_runner_alive,
    open_files,
    read_json,
    ticks_of,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def strays(root: Root, end: bool, grace: float) -> "dict[str, Any]":
    """Return the strays of a root, what was ended of them, and what would not die.

    :param end: whether to end them: TERM, ``grace`` seconds, KILL. Their generation is then recorded as lost.
    """
    found = find(root)
    ended, survivors = set(), set()  # type: set[int], set[int]
    for job, process in sorted({(stray["job"], stray["process"]) for stray in found}) if end else ():
        with root.lock(job):
            # What is astray while nobody may start the job is nobody's.
            for gone, left in (end_strays(root, job, process, grace), root.place(job, process).end_leftovers(grace)):
                ended.update(gone)
                survivors.update(left)
    return {"strays": found, "ended": sorted(ended), "survivors": sorted(survivors)}


def end_strays(root: Root, job: str, process: str, grace: float) -> "tuple[list[int], list[int]]":
    """End the strays of one process of a job; return (ended, survivors)."""
    pids = {one["pid"]: ticks_of(one["pid"]) for one in find(root) if (one["job"], one["process"]) == (job, process)}
    return end_all(lambda: [pid for pid in pids if ticks_of(pid) == pids[pid]], grace)


def find(root: Root) -> "list[dict[str, Any]]":
    """Return the strays of a root: pid, job, process, generation (where known), command and reason of each."""
    marked = []
    for pid, _, state, _ in all_processes():
        known = None if state in "ZX" or pid == os.getpid() or is_runner(pid) else belongs_to(root, pid)
        if known:
            marked.append((pid, known))
    attended = set()  # type: set[int]
    for job, process in {(known[0], known[1]) for _, known in marked}:
        run = read_json(root.place(job, process).run) or {}
        if is_runner_alive(run):
            attended.update(descendants(run["runner_pid"]))
    return [
        {
            "pid": pid, "job": job, "process": process, "generation": generation, "command": command_of(pid),
            "reason": "its runner is gone",
        }
        for pid, (job, process, generation) in marked if pid not in attended
    ]  # fmt: skip


def belongs_to(root: Root, pid: int) -> "tuple[str, str, int | None] | None":
    """Return the (job, process, generation) whose mark a process has in its environment, or whose lock it holds."""
    prefix = ("%s=" % MARK).encode()
    for entry in environment_of(pid):
        if entry.startswith(prefix):
            words = os.fsdecode(entry[len(prefix) :]).split(":", 3)
            if len(words) == 4 and words[3] == root.path and words[2].isdigit():
                return words[0], words[1], int(words[2])
    locks = os.path.join(root.path, "locks", "")
    for path in open_files(pid):
        job, _, process = path[len(locks) :].partition("/")
        if path.startswith(locks) and process.endswith(".lock") and NAME.match(process[:-5]):
            return job, process[:-5], None
    return None


def command_of(pid: int) -> str:
    """Return a process's command line, for people."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(4096).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
