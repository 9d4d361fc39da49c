"""Watching on the spot: what changes is told, and nothing else costs anything."""

import collections
import contextlib
import functools
import os
import queue
import select
import threading
import time

from .configs import STREAMS
from .daemon import RUNNING
from .jobs import Jobs
from .keeper import Keeper
from .kernel import Inotify, pidfd
from .orders import Orders
from .runner import read_json
from .watched import Process, Subscription
from .wire import Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Key = tuple[str, str]  # (job, process)

LOOK_WITHOUT_INOTIFY = 0.25
LOOK_WITHOUT_PIDFD = 1.0
ASK_SUPERVISORD = 10.0
# How many of many: what runs without a runner leaves no trace but supervisord's word, the others are seen anyhow.
ASKED_PER_SECOND = {True: 20.0, False: 2.0}
# supervisord notices an end up to a second later than we do.
LOOK_AGAIN = (0.05, 0.2, 1.0, 2.5)
RENEW_LEASES = 5.0
MEND_AGAIN = 1.0
LOG_STEP = 0.02
LOG_TURN = 0.005
LOG_CHUNK = 65536
UNDER_WAY = ("starting", "running", "backoff", "stopping")


class Watcher:
    """One thread that looks after all watches of this agent.

    Everything it keeps belongs to its thread; others reach it through :meth:`call` and :meth:`post`.
    """

    def __init__(self, jobs: Jobs, orders: Orders, outbox: Outbox) -> None:
        self.jobs, self.orders, self.outbox = jobs, orders, outbox
        self.calls = queue.Queue()  # type: queue.Queue[Callable[[], None]]
        self.wake_fd, self.waker = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self.waker, False)
        self.inotify = Inotify()
        self.epoll = select.epoll()
        self.epoll.register(self.wake_fd, select.EPOLLIN)
        if self.inotify.fd is not None:
            self.epoll.register(self.inotify.fd, select.EPOLLIN)
        self.subscriptions = {}  # type: dict[int, Subscription]
        self.processes = {}  # type: dict[Key, Process]
        # A folder of logs may be several processes'; a job's own has None for its process.
        self.folders = {}  # type: dict[int, set[tuple[str, str | None]]]
        self.pidfds = {}  # type: dict[int, Process]
        self.dirty = set()  # type: set[Process]
        self.dirty_jobs = set()  # type: set[str]
        self.hungry = set()  # type: set[int]
        self.pumped = 0.0
        self.fed = 0
        self.timers = []  # type: list[tuple[float, Callable[[], None]]]
        self.last_number = 0
        self.keeper = Keeper(jobs, orders, self.epoll, self.post, self.on_info, self.on_supervisord)
        for direct, rate in ASKED_PER_SECOND.items():
            self.later(ASK_SUPERVISORD, functools.partial(self.ask_about_all, direct, rate))
        self.renew_leases()
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

    def post(self, function: "Callable[[], None]") -> None:
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
            due = [function for moment, function in self.timers if moment <= now]
            self.timers = [timer for timer in self.timers if timer[0] > now]
            for function in due:
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
        elif fd == self.keeper.fd:
            self.keeper.on_gone(self.watched_jobs())
        elif fd in self.pidfds:
            process = self.pidfds[fd]
            self.unfollow_runner(process)
            self.look_soon(process)

    def on_change(self, number: int, name: str) -> None:
        """Note that a file in a watched folder has changed."""
        if number < 0:
            # More changed than the kernel could tell.
            self.dirty.update(self.processes.values())
            self.hungry.update(self.subscriptions)
            return
        for job, process in self.folders.get(number, ()):
            if process is None:
                if name == "job.json":
                    self.dirty_jobs.add(job)
            elif not name.endswith(".json"):
                self.feed(job)
            elif (job, process) in self.processes:
                self.look_soon(self.processes[(job, process)])

    def look_soon(self, process: Process) -> None:
        """Look at a process now, and hear supervisord as well."""
        self.dirty.add(process)
        self.keeper.ask_about(process)
        self.feed(process.job)

    def feed(self, job: str) -> None:
        """Note that a job may have new output."""
        self.hungry.update(n for n, sub in self.subscriptions.items() if sub.job == job and sub.logs)

    def watched_jobs(self) -> "set[str]":
        """Return the names of all jobs that are watched."""
        return {sub.job for sub in self.subscriptions.values()}

    def renew_leases(self) -> None:
        """Note for the runners that somebody still asks for what is watched."""
        for job in self.watched_jobs():
            if (self.jobs.root.read_job(job) or {"spec": {}})["spec"].get("lease"):
                self.jobs.renew_lease(job)
        self.later(RENEW_LEASES, self.renew_leases)

    # supervisord

    def ask_about_all(self, direct: bool, rate: float) -> None:
        """Have supervisord asked about everything, less often the more there is: it answers in a single thread."""
        processes = [process for process in self.processes.values() if process.is_direct == direct]
        for process in processes:
            self.keeper.ask_about(process)
        again = functools.partial(self.ask_about_all, direct, rate)
        self.later(max(ASK_SUPERVISORD, len(processes) / rate), again)

    def on_info(self, processes: "list[Process]") -> None:
        """Supervisord has been asked about these."""
        self.dirty.update(processes)
        self.keeper.follow(self.watched_jobs())

    def on_supervisord(self) -> None:
        """Supervisord has died, or is back: tell every watch, and ask it about everything."""
        state = "RUNNING" if self.keeper.pid else None
        for number in self.subscriptions:
            self.outbox.put({"event": "supervisord", "sub": number, "pid": self.keeper.pid, "state": state})
        for process in self.processes.values():
            process.info = None
            self.dirty.add(process)
            self.keeper.ask_about(process)

    # States

    def tell_states(self) -> None:
        """Tell what changed of what was noted."""
        jobs, self.dirty_jobs = self.dirty_jobs, set()
        for job in jobs:
            self.tell_job(job)
        processes, self.dirty = self.dirty, set()
        for process in processes:
            self.tell_state(process)

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
            if sub.job == process.job and sub.news(status):
                self.outbox.put({"event": "state", "sub": sub.number, "process": status})
        if status["phase"] == "lost":
            self.mend(process, self.end_lost)
        elif status["phase"] == "backoff" and not status["runner_pid"] and self.keeper.pid:
            self.mend(process, lambda process: self.orders.resume(process.job))
        if process.info and (status["phase"] in UNDER_WAY) != (process.info["statename"] in RUNNING):
            self.look_again(process)
        else:
            process.looks = 0

    def look_again(self, process: Process) -> None:
        """Hear supervisord again shortly, until it tells the same story as the records, or will not."""
        if process.looks < len(LOOK_AGAIN):
            self.later(LOOK_AGAIN[process.looks], lambda: self.keeper.ask_about(process))
            process.looks += 1

    def follow_runner(self, process: Process, status: "dict[str, Any]") -> None:
        """Be told when the process's runner ends, however it ends."""
        if status["runner_pid"] == process.runner_pid:
            return
        self.unfollow_runner(process)
        if not status["runner_pid"]:
            return
        process.pidfd = pidfd(status["runner_pid"])
        if process.pidfd is None:
            self.later(LOOK_WITHOUT_PIDFD, lambda: self.dirty.add(process))
            return
        process.runner_pid = status["runner_pid"]
        self.pidfds[process.pidfd] = process
        self.epoll.register(process.pidfd, select.EPOLLIN)

    def unfollow_runner(self, process: Process) -> None:
        """No longer follow the process's runner."""
        if process.pidfd is not None:
            del self.pidfds[process.pidfd]
            self.epoll.unregister(process.pidfd)
            os.close(process.pidfd)
        process.pidfd = process.runner_pid = None

    def mend(self, process: Process, how: "Callable[[Process], None]") -> None:
        """See to a process whose runner is gone, in a thread of its own, and again after a pause where it is no use."""

        def mend() -> None:
            try:
                how(process)
            finally:
                self.post(done)

        def done() -> None:
            self.dirty.add(process)
            self.later(MEND_AGAIN, rested)

        def rested() -> None:
            process.is_being_mended = False
            self.dirty.add(process)

        if not process.is_being_mended:
            process.is_being_mended = True
            threading.Thread(target=mend, daemon=True).start()

    def end_lost(self, process: Process) -> None:
        """End what a killed runner left behind."""
        with self.jobs.root.lock(process.job):
            record = read_json(process.place.exit(process.place.last_generation())) or {}
            if not record.get("final"):
                process.place.end_leftovers()

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
        """Send what is new of the logs, as far as each watch has credit: each one chunk a stream, turn by turn.

        A part of each step is for that, so that a flood leaves time for states. Whose turn was last is last again.
        """
        self.pumped = time.monotonic()
        waiting = self.hungry.intersection(self.subscriptions)
        turns = collections.deque(sorted(waiting, key=lambda number: (number <= self.fed, number)))
        while turns and self.outbox.has_room() and time.monotonic() < self.pumped + LOG_TURN:
            self.fed = turns.popleft()
            if self.pump_one(self.subscriptions[self.fed]):
                turns.append(self.fed)
        self.hungry = set(turns)

    def pump_one(self, sub: Subscription) -> bool:
        """Send one round of a watch's output; true when there is more, and credit for it."""
        more = False
        for (name, stream), position in list(sub.positions.items()):
            if sub.credit <= 0:
                return False
            if not self.outbox.has_room():
                return True
            reader = self.processes[(sub.job, name)].readers[stream]
            chunks, reached, end = reader.read(position, min(LOG_CHUNK, self.outbox.piece(), sub.credit))
            for chunk in chunks:
                sub.credit -= len(chunk["data"]) * 3 // 4 - chunk["data"].count("=")
                line = {"event": "log", "sub": sub.number, "process": name, "stream": stream}
                self.outbox.put(dict(line, **chunk), bulk=True)
            del sub.positions[(name, stream)]  # a round that is cut short goes on with the others
            sub.positions[(name, stream)] = max(position, reached)
            more = more or reached < end
        return more

    # Verbs, in the watcher's thread

    def subscribe(
        self, params: "dict[str, Any]", record: "dict[str, Any]", status: "dict[str, Any]"
    ) -> "dict[str, Any]":
        """Begin a watch; return its number, the job's status, and where the output that follows begins.

        :param status: of the job a moment ago; what has changed since is told.
        """
        self.last_number += 1
        sub = Subscription(self.last_number, record["owner"], params)
        begins = {}
        for spec, one in zip(self.jobs.processes(record, params.get("programs")), status["processes"]):
            process = self.process(sub.job, spec, one)
            begins[process.name] = sub.add(process, one)
            process.info = process.info or ({"statename": one["state"], "start": 0} if one["state"] else None)
            self.follow_runner(process, one)
            self.look_soon(process)
        self.subscriptions[sub.number] = sub
        if record["spec"].get("lease"):  # a look may be over before it is renewed in turn
            self.jobs.renew_lease(sub.job)
        if sub.logs:
            self.hungry.add(sub.number)
        return {"sub": sub.number, "job": status, "from": begins}

    def process(self, job: str, spec: "dict[str, Any]", status: "dict[str, Any]") -> Process:
        """Return what is kept of a process, its folders watched from now on."""
        key = (job, spec["process"])
        if key not in self.processes:
            process = Process(self.jobs, job, spec, {stream: status[stream] for stream in STREAMS})
            self.processes[key] = process
            watched = [self.watch_folder(folder, key) for folder in process.folders()]
            if not all([*watched, self.watch_folder(self.jobs.root.job_folder(job), (job, None))]):
                self.look_without_inotify(process)
        return self.processes[key]

    def watch_folder(self, folder: str, key: "tuple[str, str | None]") -> bool:
        """Be told of changes in a folder; false where the system has no more watches to give."""
        number = self.inotify.watch(folder)
        if number is None:
            return False
        self.folders.setdefault(number, set()).add(key)
        return True

    def look_without_inotify(self, process: Process) -> None:
        """Look at a process four times a second, for as long as somebody watches it."""
        if self.processes.get(process.key) is process:
            self.dirty.add(process)
            self.dirty_jobs.add(process.job)
            self.feed(process.job)
            self.later(LOOK_WITHOUT_INOTIFY, lambda: self.look_without_inotify(process))

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
        wanted = set()  # type: set[tuple[str, str | None]]
        wanted.update((sub.job, name) for sub in self.subscriptions.values() for name in sub.told)
        for key in [key for key in self.processes if key not in wanted]:
            process = self.processes.pop(key)
            self.unfollow_runner(process)
            self.dirty.discard(process)
        wanted.update((job, None) for job in self.watched_jobs())
        for number, keys in list(self.folders.items()):
            keys &= wanted
            if not keys:
                self.inotify.forget(number)
                del self.folders[number]
