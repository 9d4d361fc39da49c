"""What is watched, by whom, and how far each has read."""

import collections
import os
import threading

from .jobs import Jobs, full_name
from .logs import StreamReader
from .root import check_name
from .runner import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Key = tuple[str, str]  # (job, process)

DEFAULT_CREDIT = 262144
# Requests are answered side by side, and a cursor is read before it is written.
ACKNOWLEDGING = threading.Lock()


class Process:
    """What the watcher keeps of one process, however many watch it."""

    def __init__(self, jobs: Jobs, job: str, spec: "dict[str, Any]", paths: "dict[str, str | None]") -> None:
        self.job, self.name, self.full_name = job, spec["process"], full_name(spec)
        self.key = (job, self.name)
        self.is_direct = spec["kind"] != "program"
        self.place = jobs.root.place(job, self.name)
        self.paths = {stream: path for stream, path in paths.items() if path}
        self.readers = {
            stream: StreamReader(path, os.path.join(self.place.folder, stream + ".index"))
            for stream, path in self.paths.items()
        }
        self.pidfd = None  # type: int | None
        self.runner_pid = None  # type: int | None
        self.info = None  # type: dict[str, Any] | None
        self.looks = 0
        self.is_being_mended = False

    def folders(self) -> "list[str]":
        """Return the folders in which changes matter; they exist from now on."""
        os.makedirs(self.place.exits, mode=0o700, exist_ok=True)
        logs = {os.path.dirname(path) for path in self.paths.values()}
        return sorted({self.place.folder, self.place.exits, *logs})


class Subscription:
    """One watch of one job by one client."""

    def __init__(self, number: int, owner: "Any", params: "dict[str, Any]") -> None:
        self.number, self.told_owner = number, owner
        self.job, self.consumer = params["job"], params.get("consumer")
        self.logs = bool(params.get("logs", True))
        self.credit = int(params.get("credit") or DEFAULT_CREDIT)
        self.start = params.get("start") or "cursor"
        self.positions = {}  # type: dict[Key, int]
        self.told = {}  # type: dict[str, dict[str, Any]]

    def add(self, process: Process, status: "dict[str, Any]") -> "dict[str, int]":
        """Watch a process too, its status being told; return where the output that will follow begins."""
        self.told[process.name] = status
        begins = {
            stream: self.first_position(process, stream, reader, status) for stream, reader in process.readers.items()
        }
        for stream, position in begins.items():
            self.positions[(process.name, stream)] = position
        return begins

    def first_position(self, process: Process, stream: str, reader: StreamReader, status: "dict[str, Any]") -> int:
        """Return where to begin to read a stream."""
        if isinstance(self.start, dict):
            return int(self.start.get(process.name, {}).get(stream, 0))
        if isinstance(self.start, int):
            return reader.position_of_last(self.start)
        if self.start == "end":
            return reader.bounds()[1]
        began = (status["positions"] or {}).get(stream, {}).get("start", 0)
        order = read_json(process.place.next) or {}
        is_ordered = order.get("order") == "start"  # else what runs was found by a new supervisord
        if is_ordered:  # what was restarted in place belongs to it
            began = min(began, reader.position_since_generation(order["generation"]))
        if self.start == "beginning" or not self.consumer:
            return int(began)
        read = int(cursor(process.place.folder, self.consumer)["positions"].get(stream, began))
        return max(read, int(began)) if is_ordered else read

    def news(self, status: "dict[str, Any]") -> bool:
        """Take a process's status, and tell whether it says anything new; where the log ends is no news."""
        if status["process"] not in self.told:
            return False
        told, self.told[status["process"]] = self.told[status["process"]], status
        return any(told.get(name) != value for name, value in status.items() if name != "positions")


def cursor_file(folder: str, consumer: str) -> str:
    """Return the file that keeps how far a consumer has read a process's output."""
    return os.path.join(folder, "cursor", check_name(consumer, "consumer") + ".json")


def cursor(folder: str, consumer: str) -> "dict[str, Any]":
    """Return how far a consumer has read, and the newest end that it has reported."""
    return read_json(cursor_file(folder, consumer)) or {"format": 1, "positions": {}, "reported": 0}


def acknowledge(jobs: Jobs, params: "dict[str, Any]") -> None:
    """Keep how far a consumer has read, and which ends it has reported."""
    job, consumer = check_name(params.get("job"), "job"), check_name(params.get("consumer"), "consumer")
    changes = collections.defaultdict(dict)  # type: dict[str, dict[str, Any]]
    for process, positions in (params.get("positions") or {}).items():
        changes[process]["positions"] = positions
    for process, generation in (params.get("reported") or {}).items():
        changes[process]["reported"] = generation
    for process, change in changes.items():
        folder = jobs.root.place(job, check_name(process, "process")).folder
        if not os.path.isdir(folder):
            continue  # it was purged before its last watch had told us
        os.makedirs(os.path.join(folder, "cursor"), mode=0o700, exist_ok=True)
        with ACKNOWLEDGING:
            kept = cursor(folder, consumer)
            for stream, position in change.get("positions", {}).items():
                kept["positions"][stream] = max(position, kept["positions"].get(stream, 0))
            kept["reported"] = max(kept["reported"], change.get("reported", 0))
            write_json(cursor_file(folder, consumer), kept)
