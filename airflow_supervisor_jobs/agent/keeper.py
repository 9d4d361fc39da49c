"""Keeps an eye on supervisord: asks it what it alone knows, notices its death, brings it back."""

import os
import select
import threading
import time

from .jobs import Jobs
from .kernel import pidfd
from .orders import Orders
from .watched import Process
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

PATIENCE = 5.0


class Keeper:
    """Belongs to the watcher's thread, but for its own two, in which supervisord may be slow.

    :param post: runs a function in the watcher's thread.
    :param on_info: is told, there, which processes have news of supervisord.
    :param on_change: is told, there, that supervisord died or is back.
    """

    def __init__(
        self,
        jobs: Jobs,
        orders: Orders,
        epoll: "select.epoll",
        post: "Callable[[Callable[[], None]], None]",
        on_info: "Callable[[list[Process]], None]",
        on_change: "Callable[[], None]",
    ) -> None:
        self.jobs, self.orders, self.epoll = jobs, orders, epoll
        self.post, self.on_info, self.on_change = post, on_info, on_change
        self.pid = None  # type: int | None
        self.fd = None  # type: int | None
        self.reviving = False
        self.wondering = set()  # type: set[Process]
        self.asked = threading.Event()
        threading.Thread(target=self.ask, daemon=True).start()

    def ask_about(self, process: Process) -> None:
        """Have supervisord asked about a process soon, together with the others that somebody wonders about."""
        self.wondering.add(process)
        self.asked.set()

    def ask(self) -> None:
        """Ask, for ever; in a thread of its own."""
        while True:
            self.asked.wait()
            self.asked.clear()
            wondering, self.wondering = self.wondering, set()
            processes = list(wondering)
            infos = self.jobs.daemon.info([process.full_name for process in processes], PATIENCE)

            def take(infos: "dict[str, dict[str, object]]" = infos, processes: "list[Process]" = processes) -> None:
                for process in processes:
                    process.info = infos.get(process.full_name)
                self.on_info(processes)

            self.post(take)

    def follow(self, jobs: "set[str]") -> None:
        """Be told when supervisord dies; one that is dead is brought back, if any of these jobs needs it."""
        if self.fd is not None or self.reviving or not jobs:
            return
        self.pid = self.jobs.daemon.pid()
        if self.pid is not None:
            self.fd = pidfd(self.pid)
            if self.fd is not None:
                self.epoll.register(self.fd, select.EPOLLIN)
        elif not self.jobs.daemon.attached() and self.is_needed(jobs):
            self.reviving = True
            threading.Thread(target=self.revive, daemon=True).start()

    def is_needed(self, jobs: "set[str]") -> bool:
        """Tell whether any of the jobs needs supervisord: the stop of a teardown is no accident."""
        records = map(self.jobs.root.read_job, jobs)
        return any(record and not record["released"] for record in records)

    def on_gone(self, jobs: "set[str]") -> None:
        """Supervisord is dead: tell, and bring it back."""
        if self.fd is not None:
            self.epoll.unregister(self.fd)
            os.close(self.fd)
            self.fd = None
        self.pid = None
        self.on_change()
        self.follow(jobs)

    def revive(self) -> None:
        """Start another supervisord, which answers for what survived; in a thread of its own."""
        try:
            self.orders.start_supervisord()
        except (Refusal, OSError):
            time.sleep(1.0)
        self.post(self.on_revived)

    def on_revived(self) -> None:
        """Go on as before; the next look follows the new one, or tries again."""
        self.reviving = False
        self.pid = self.jobs.daemon.pid()
        self.on_change()
