"""Watching on the spot: what changes is told, and nothing else costs anything."""

import collections
import contextlib
import os
import queue
import select
import threading
import time

from .daemon import RUNNING
from .jobs import STREAMS, Jobs, full_name
from .kernel import Inotify, pidfd
from .logs import StreamReader
from .orders import Orders
from .root import check_name
from .runner import read_json, write_json
from .wire import Outbox, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

LOOK_WITHOUT_INOTIFY = 0.25
LOOK_WITHOUT_PIDFD = 1.0
ASK_SUPERVISORD = 10.0
LOOK_AGAIN = (0.05, 0.2, 1.0, 2.5)
LOG_STEP = 0.02
LOG_CHUNK = 65536


class Process:
    """What the watcher keeps of one process, however many watch it."""

    def __init__(self, jobs: Jobs, job: str, spec: "dict[str, Any]", paths: "dict[str, str | None]") -> None:
        self.job, self.name, self.full_name = job, spec["process"], full_name(spec)
        self.place = jobs.root.place(job, self.name)
        self.paths = {stream: path for stream, path in paths.items() if path}
        self.readers = {
            stream: StreamReader(path, os.path.join(self.place.folder, stream + ".index"))
            for stream, path in self.paths.items()
        }
        self.watches = []  # type: list[int]
        self.pidfd = None  # type: int | None
        self.runner_pid = None  # type: int | None
        self.info = None  # type: dict[str, Any] | None


class Subscription:
    """One watch of one job by one client."""

    def __init__(self, number: int, params: "dict[str, Any]") -> None:
        self.number = number
        self.job, self.owner = params["job"], params.get("owner")
        self.consumer, self.programs = params.get("consumer"), params.get("programs")
        self.logs = bool(params.get("logs", True))
        self.credit = int(params.get("credit") or 262144)
        self.start = params.get("start") or "cursor"
        self.positions = {}  # type: dict[tuple[str, str], int]
        self.told = {}  # type: dict[str, dict[str, Any]]
        self.told_owner = None  # type: Any
        self.processes = []  # type: list[str]


class Watcher:
    """One thread that looks after all watches of this agent.

    Everything it keeps belongs to its thread; others reach it through :meth:`call`.
    """

    def __init__(self, jobs: Jobs, orders: Orders, outbox: Outbox) -> None:
        self.jobs, self.orders, self.outbox = jobs, orders, outbox
        self.calls = queue.SimpleQueue() if hasattr(queue, "SimpleQueue") else queue.Queue()  # type: Any  # novm
        self.wake_fd, self.waker = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self.waker, False)
        self.inotify = Inotify()
        self.epoll = select.epoll()
        self.epoll.register(self.wake_fd, select.EPOLLIN)
        if self.inotify.fd is not None:
            self.epoll.register(self.inotify.fd, select.EPOLLIN)
        self.subscriptions = {}  # type: dict[int, Subscription]
        self.processes = {}  # type: dict[tuple[str, str], Process]
        self.folders = {}  # type: dict[int, tuple[str, str | None]]
        self.pidfds = {}  # type: dict[int, tuple[str, str]]
        self.dirty = set()  # type: set[tuple[str, str]]
        self.dirty_jobs = set()  # type: set[str]
        self.hungry = set()  # type: set[int]
        self.pumped = 0.0
        self.timers = []  # type: list[tuple[float, Callable[[], None]]]
        self.last_number = 0
        self.supervisord = None  # type: int | None
        self.supervisord_fd = None  # type: int | None
        self.reviving = False
        self.asking = set()  # type: set[tuple[str, str]]
        self.asked = threading.Event()
        self.later(ASK_SUPERVISORD, self.ask_about_all)
        threading.Thread(target=self.ask, daemon=True).start()
        threading.Thread(target=self.run, daemon=True).start()

    # From other threads

    def call(self, function: "Callable[[], Any]") -> "Any":
        """Run a function in the watcher's thread and return what it returns."""
        done = threading.Event()
        box = {}  # type: dict[str, Any]

        def run() -> None:
            try:
                box["result"] = function()
            except Exception as error:
                box["error"] = error
            done.set()

        self.post(run)
        done.wait()
        if "error" in box:
            raise box["error"]
        return box["result"]

    def post(self, function: "Callable[[], Any]") -> None:
        """Have the watcher's thread run a function soon."""
        self.calls.put(function)
        with contextlib.suppress(BlockingIOError):
            os.write(self.waker, b"!")

    # The loop

    def run(self) -> None:
        """Wait for what changes, for ever."""
        while True:
            for fd, _ in self.epoll.poll(self.patience()):
                self.on_ready(fd)
            while not self.calls.empty():
                self.calls.get()()
            now = time.monotonic()
            due = [timer for timer in self.timers if timer[0] <= now]
            self.timers = [timer for timer in self.timers if timer[0] > now]
            for _, function in due:
                function()
            self.tell_states()
            if self.hungry and time.monotonic() - self.pumped >= LOG_STEP:
                self.pump()

    def patience(self) -> float:
        """Return the seconds until something is due."""
        due = [moment for moment, _ in self.timers]
        if self.hungry:
            due.append(self.pumped + LOG_STEP)
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def later(self, seconds: float, function: "Callable[[], None]") -> None:
        """Run a function in this thread after a while."""
        self.timers.append((time.monotonic() + seconds, function))

    def on_ready(self, fd: int) -> None:
        """Note what a descriptor's readiness says has changed."""
        if fd == self.wake_fd:
            with contextlib.suppress(BlockingIOError):
                while os.read(fd, 4096):
                    pass
        elif fd == self.inotify.fd:
            for number, name in self.inotify.read():
                self.on_change(number, name)
        elif fd == self.supervisord_fd:
            self.on_supervisord_gone()
        elif fd in self.pidfds:
            self.look_soon(self.pidfds[fd])
            self.drop_pidfd(fd)

    def on_change(self, number: int, name: str) -> None:
        """Note that a file in a watched folder has changed."""
        if number < 0:
            self.dirty.update(self.processes)
            self.hungry.update(self.subscriptions)
            return
        job, process = self.folders.get(number, (None, None))
        if job is None:
            return
        if process is None:
            if name == "job.json":
                self.dirty_jobs.add(job)
            return
        if name.endswith(".json"):
            self.look_soon((job, process))
        else:
            self.feed(job)

    def look_soon(self, key: "tuple[str, str]") -> None:
        """Look at a process now, and have supervisord asked until both tell the same story."""
        self.dirty.add(key)
        self.ask_about(key)
        self.feed(key[0])

    def feed(self, job: str) -> None:
        """Note that a job may have new output."""
        self.hungry.update(n for n, sub in self.subscriptions.items() if sub.job == job and sub.logs)

    # supervisord

    def ask(self) -> None:
        """Ask supervisord about the processes that somebody wonders about; a thread of its own, for it may hang."""
        while True:
            self.asked.wait()
            self.asked.clear()
            keys, self.asking = self.asking, set()
            processes = [self.processes[key] for key in keys if key in self.processes]
            infos = self.jobs.daemon.info([process.full_name for process in processes], 5.0)
            self.post(lambda infos=infos, processes=processes: self.on_answers(infos, processes))  # type: ignore[misc]

    def ask_about(self, key: "tuple[str, str]") -> None:
        """Have supervisord asked about a process."""
        self.asking.add(key)
        self.asked.set()

    def ask_about_all(self) -> None:
        """Have supervisord asked about everything, less often the more there is."""
        for key in self.processes:
            self.ask_about(key)
        self.later(max(ASK_SUPERVISORD, len(self.processes) / 20.0), self.ask_about_all)

    def on_answers(self, infos: "dict[str, dict[str, Any]]", processes: "list[Process]") -> None:
        """Take what supervisord said."""
        for process in processes:
            process.info = infos.get(process.full_name)
            self.dirty.add((process.job, process.name))
        self.follow_supervisord()

    def follow_supervisord(self) -> None:
        """Be told when supervisord dies; bring it back where it has."""
        if self.supervisord_fd is not None or not self.subscriptions or self.reviving:
            return
        pid = self.jobs.daemon.pid()
        if pid is None:
            self.on_supervisord_gone()
            return
        self.supervisord = pid
        self.supervisord_fd = pidfd(pid)
        if self.supervisord_fd is not None:
            self.epoll.register(self.supervisord_fd, select.EPOLLIN)

    def on_supervisord_gone(self) -> None:
        """Tell it, and start another that answers for what survived."""
        if self.supervisord_fd is not None:
            self.epoll.unregister(self.supervisord_fd)
            os.close(self.supervisord_fd)
            self.supervisord_fd = None
        self.supervisord = None
        for process in self.processes.values():
            process.info = None
        self.dirty.update(self.processes)
        self.tell_supervisord()
        if not self.reviving and not self.jobs.daemon.attached() and self.is_wanted():
            self.reviving = True
            threading.Thread(target=self.revive, daemon=True).start()

    def is_wanted(self) -> bool:
        """Tell whether any job that is watched still needs supervisord: a teardown's stop is no accident."""
        records = (self.jobs.root.read_job(sub.job) for sub in self.subscriptions.values())
        return any(record and not record["released"] for record in records)

    def revive(self) -> None:
        """Bring supervisord back; again later where that fails."""
        try:
            self.orders.start_supervisord()
        except (Refusal, OSError):
            time.sleep(1.0)
        self.post(self.on_revived)

    def on_revived(self) -> None:
        """Go on as before."""
        self.reviving = False
        self.follow_supervisord()
        self.tell_supervisord()
        for key in self.processes:
            self.ask_about(key)

    def tell_supervisord(self) -> None:
        """Tell every watch how supervisord is."""
        state = "RUNNING" if self.supervisord else None
        for number in self.subscriptions:
            self.outbox.put({"event": "supervisord", "sub": number, "pid": self.supervisord, "state": state})

    # States

    def tell_states(self) -> None:
        """Tell what changed of the processes that were noted."""
        jobs, self.dirty_jobs = self.dirty_jobs, set()
        for job in jobs:
            self.tell_job(job)
        keys, self.dirty = self.dirty, set()
        for key in keys:
            if key in self.processes:
                self.tell_state(self.processes[key])

    def tell_state(self, process: Process) -> None:
        """Tell a process's status to the watches that know another one."""
        record = self.jobs.root.read_job(process.job)
        specs = record["spec"]["processes"] if record else []
        spec = next((spec for spec in specs if spec["process"] == process.name), None)
        if record is None or spec is None:
            return
        status = self.jobs.status(record, spec, process.info)
        self.follow_runner(process, status)
        for sub in self.subscriptions.values():
            if sub.job == process.job and process.name in sub.processes and differs(sub.told.get(process.name), status):
                sub.told[process.name] = status
                self.outbox.put({"event": "state", "sub": sub.number, "process": status})
        running = status["phase"] in ("starting", "running", "backoff", "stopping")
        if process.info and running != (process.info["statename"] in RUNNING):
            self.look_again(process)
        if status["phase"] == "lost":
            self.end_lost(process)

    def look_again(self, process: Process) -> None:
        """Ask supervisord again shortly: it notices an end up to a second after we do."""
        tries = getattr(process, "tries", 0)
        if tries < len(LOOK_AGAIN):
            process.tries = tries + 1  # type: ignore[attr-defined]
            self.later(LOOK_AGAIN[tries], lambda: self.ask_about((process.job, process.name)))
            self.later(LOOK_AGAIN[-1] * 2, lambda: setattr(process, "tries", 0))

    def follow_runner(self, process: Process, status: "dict[str, Any]") -> None:
        """Be told when the process's runner ends, however it ends."""
        if status["runner_pid"] == process.runner_pid:
            return
        if process.pidfd is not None:
            self.drop_pidfd(process.pidfd)
        process.runner_pid = status["runner_pid"]
        if not process.runner_pid:
            return
        key = (process.job, process.name)
        process.pidfd = pidfd(process.runner_pid)
        if process.pidfd is None:
            self.later(LOOK_WITHOUT_PIDFD, lambda: self.dirty.add(key))
            process.runner_pid = None
        else:
            self.pidfds[process.pidfd] = key
            self.epoll.register(process.pidfd, select.EPOLLIN)

    def drop_pidfd(self, fd: int) -> None:
        """No longer follow a runner."""
        key = self.pidfds.pop(fd)
        self.epoll.unregister(fd)
        os.close(fd)
        if key in self.processes:
            self.processes[key].pidfd = self.processes[key].runner_pid = None

    def end_lost(self, process: Process) -> None:
        """End what a killed runner left behind, in a thread of its own; its record then changes the status."""

        def end() -> None:
            with self.jobs.root.lock(process.job, "job"):
                status = read_json(process.place.exit(process.place.last_generation())) or {}
                if not status.get("final") and (read_json(process.place.run) or {}).get("boot_id"):
                    process.place.end_leftovers()
            self.post(lambda: self.dirty.add((process.job, process.name)))

        if not getattr(process, "ending", False):
            process.ending = True  # type: ignore[attr-defined]
            threading.Thread(target=end, daemon=True).start()

    def tell_job(self, job: str) -> None:
        """Tell a job's watches of a new owner, or that it was removed."""
        record = self.jobs.root.read_job(job)
        for sub in [sub for sub in self.subscriptions.values() if sub.job == job]:
            if record is None:
                self.outbox.put({"event": "gone", "sub": sub.number})
            elif record["owner"] != sub.told_owner:
                sub.told_owner = record["owner"]
                self.outbox.put({"event": "owner", "sub": sub.number, "owner": record["owner"]})

    # Logs

    def pump(self) -> None:
        """Send what is new of the logs, as far as each watch has credit: each one chunk a stream, turn by turn."""
        self.pumped = time.monotonic()
        hungry, self.hungry = self.hungry, set()
        for number in hungry:
            sub = self.subscriptions.get(number)
            if sub and self.outbox.has_room():
                if self.pump_one(sub):
                    self.hungry.add(number)
            elif sub:
                self.hungry.add(number)

    def pump_one(self, sub: Subscription) -> bool:
        """Send one round of a watch's output; true when there is more and credit for it."""
        more = False
        for name in sub.processes:
            process = self.processes[(sub.job, name)]
            for stream, reader in process.readers.items():
                if sub.credit <= 0:
                    return False
                key = (name, stream)
                chunks, reached, end = reader.read(sub.positions[key], min(LOG_CHUNK, sub.credit))
                for chunk in chunks:
                    sub.credit -= len(chunk["data"]) * 3 // 4 - chunk["data"].count("=")
                    line = {"event": "log", "sub": sub.number, "process": name, "stream": stream}
                    self.outbox.put(dict(line, **chunk), bulk=True)
                sub.positions[key] = max(sub.positions[key], reached)
                more = more or reached < end
        return more

    # Verbs, in the watcher's thread

    def subscribe(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Begin a watch and return its number and the job's status."""
        record = self.jobs.root.job(check_name(params.get("job"), "job"))
        status = self.jobs.job_status(record, params.get("programs"))
        self.last_number += 1
        sub = Subscription(self.last_number, params)
        sub.told_owner = record["owner"]
        begins = {}
        for spec, one in zip(self.jobs.processes(record, sub.programs), status["processes"]):
            process = self.process(sub.job, spec, one)
            sub.processes.append(process.name)
            sub.told[process.name] = one
            for stream, reader in process.readers.items():
                sub.positions[(process.name, stream)] = self.first_position(sub, process, stream, reader, one)
            begins[process.name] = {stream: sub.positions[(process.name, stream)] for stream in process.readers}
            process.info = process.info or ({"statename": one["state"], "start": 0} if one["state"] else None)
            self.follow_runner(process, one)
            self.ask_about((process.job, process.name))
            self.dirty.add((process.job, process.name))
        self.subscriptions[sub.number] = sub
        if sub.logs:
            self.hungry.add(sub.number)
        return {"sub": sub.number, "job": status, "from": begins}

    def process(self, job: str, spec: "dict[str, Any]", status: "dict[str, Any]") -> Process:
        """Return what is kept of a process, its folders watched from now on."""
        key = (job, spec["process"])
        if key not in self.processes:
            process = Process(self.jobs, job, spec, {stream: status[stream] for stream in STREAMS})
            self.processes[key] = process
            os.makedirs(process.place.exits, mode=0o700, exist_ok=True)
            folders = {process.place.folder, process.place.exits}
            folders.update(os.path.dirname(path) for path in process.paths.values())
            watched = [self.watch_folder(folder, key) for folder in sorted(folders)]
            self.watch_folder(self.jobs.root.job_folder(job), (job, None))
            if not all(watched):
                self.look_without_inotify(key)
        return self.processes[key]

    def watch_folder(self, folder: str, key: "tuple[str, str | None]") -> bool:
        """Be told of changes in a folder; false where the system has no more watches to give."""
        number = self.inotify.watch(folder)
        if number is None:
            return False
        self.folders[number] = key
        return True

    def look_without_inotify(self, key: "tuple[str, str]") -> None:
        """Look at a process four times a second, for as long as somebody watches it."""
        if key in self.processes:
            self.dirty.add(key)
            self.dirty_jobs.add(key[0])
            self.feed(key[0])
            self.later(LOOK_WITHOUT_INOTIFY, lambda: self.look_without_inotify(key))

    def first_position(
        self, sub: Subscription, process: Process, stream: str, reader: StreamReader, status: "dict[str, Any]"
    ) -> int:
        """Return where a watch begins to read a stream."""
        if isinstance(sub.start, dict):
            return int(sub.start.get(process.name, {}).get(stream, 0))
        if isinstance(sub.start, int):
            return reader.position_of_last(sub.start)
        if sub.start == "end":
            return reader.bounds()[1]
        began = (status["positions"] or {}).get(stream, {}).get("start", 0)
        order = read_json(process.place.next) or {}
        if order.get("order") == "start":  # what was restarted in place belongs to it
            began = min(began, reader.position_since_generation(order["generation"]))
        if sub.start == "beginning" or not sub.consumer:
            return began  # type: ignore[no-any-return]
        cursor = (read_json(self.cursor_file(process, sub.consumer)) or {}).get("positions", {}).get(stream, began)
        return max(cursor, began) if order.get("order") == "start" else cursor  # type: ignore[no-any-return]

    def cursor_file(self, process: Process, consumer: str) -> str:
        """Return the file that keeps how far a consumer has read."""
        return os.path.join(process.place.folder, "cursor", check_name(consumer, "consumer") + ".json")

    def add_credit(self, number: int, count: int) -> None:
        """Allow a watch that many more bytes."""
        sub = self.subscriptions.get(number)
        if sub:
            sub.credit += count
            self.hungry.add(number)

    def unsubscribe(self, number: int) -> None:
        """End a watch, and forget what only it looked at."""
        self.subscriptions.pop(number, None)
        self.hungry.discard(number)
        wanted = {(sub.job, name) for sub in self.subscriptions.values() for name in sub.processes}
        for key in [key for key in self.processes if key not in wanted]:
            process = self.processes.pop(key)
            if process.pidfd is not None:
                self.drop_pidfd(process.pidfd)
        jobs = {job for job, _ in wanted}
        for number, (job, name) in list(self.folders.items()):
            if (job, name) not in wanted and not (name is None and job in jobs):
                self.inotify.forget(number)
                del self.folders[number]


def differs(told: "dict[str, Any] | None", status: "dict[str, Any]") -> bool:
    """Tell whether a status says anything new; where the log ends is no news."""
    if told is None:
        return True
    return any(told.get(name) != value for name, value in status.items() if name != "positions")


def acknowledge(jobs: Jobs, params: "dict[str, Any]") -> None:
    """Keep how far a consumer has read, and which ends it has reported."""
    job, consumer = check_name(params.get("job"), "job"), check_name(params.get("consumer"), "consumer")
    positions, reported = params.get("positions") or {}, params.get("reported") or {}
    changes = collections.defaultdict(dict)  # type: dict[str, dict[str, Any]]
    for process, streams in positions.items():
        changes[process]["positions"] = streams
    for process, generation in reported.items():
        changes[process]["reported"] = generation
    for process, change in changes.items():
        folder = os.path.join(jobs.root.place(job, check_name(process, "process")).folder, "cursor")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, consumer + ".json")
        cursor = read_json(path) or {"format": 1, "positions": {}, "reported": 0}
        cursor["positions"].update(change.get("positions", {}))
        cursor["reported"] = max(cursor["reported"], change.get("reported", 0))
        write_json(path, cursor)
