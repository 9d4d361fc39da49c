"""Lines to the client, and the errors that it may be told."""

import collections
import json
import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Bytes of log lines that may be under way to the client: what is under way stands before a state that comes now.
FIRST_UNDER_WAY = 128 * 1024
LEAST_UNDER_WAY = 32 * 1024
MOST_UNDER_WAY = 2 * 1024 * 1024
# How many seconds longer than an empty way they may take for that.
QUEUEING = 0.25
# The client says so at least each time that so many bytes have arrived.
RECEIPT = 16 * 1024


class Refusal(Exception):
    """A request that cannot be done; ``code`` is one of docs/reference/protocol.md."""

    def __init__(self, code: str, message: str, job: "str | None" = None, program: "str | None" = None) -> None:
        super().__init__(message)
        self.code, self.message, self.job, self.program = code, message, job, program

    def to_json(self) -> "dict[str, Any]":
        """Return the error as it stands in an answer."""
        return {"code": self.code, "message": self.message, "job": self.job, "program": self.program}


class UnderWay:
    """How many bytes are under way to the client, and how many may be: as many as a slow link takes without a queue."""

    def __init__(self) -> None:
        self.limit = FIRST_UNDER_WAY
        self.sent = self.received = 0
        self.sent_at = 0.0
        # Up to which byte sent, when it was sent, and whether no more was allowed after it.
        self.probe = None  # type: tuple[int, float, bool] | None
        self.shortest = float("inf")

    def is_full(self) -> bool:
        """Tell whether what comes next has to wait."""
        return self.sent - self.received >= self.limit

    def add(self, size: int, now: float) -> None:
        """So many bytes are sent now."""
        before = self.sent - self.received
        self.sent, self.sent_at = self.sent + size, now
        if self.probe is None and before < RECEIPT <= before + size:  # less has no receipt before more is sent
            self.probe = (self.sent, now, False)

    def wait(self) -> None:
        """More could be sent, and is not allowed."""
        if self.probe is None:
            self.probe = (self.sent, self.sent_at, True)

    def take(self, size: int, now: float) -> None:
        """So many more have arrived."""
        self.received = min(self.sent, self.received + size)
        if self.probe is not None and self.received >= self.probe[0]:
            _, sent_at, was_full = self.probe
            self.probe = None
            self.shortest = min(self.shortest, now - sent_at)
            if was_full:
                self.adapt(now - sent_at - self.shortest)

    def adapt(self, seconds: float) -> None:
        """Allow less where so much stands behind itself for long, else more."""
        if seconds > QUEUEING:
            self.limit = max(LEAST_UNDER_WAY, self.limit // 2)
        else:
            self.limit = min(MOST_UNDER_WAY, self.limit * 2)


class Outbox:
    """Sends lines in a thread of its own; answers and states overtake log lines, but for the few under way."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.urgent = collections.deque()  # type: collections.deque[bytes]
        self.bulk = collections.deque()  # type: collections.deque[bytes]
        self.bulk_bytes = 0
        self.under_way = UnderWay()
        self.changed = threading.Condition()
        threading.Thread(target=self.send, daemon=True).start()

    def put(self, line: "dict[str, Any]", bulk: bool = False) -> None:
        """Queue a line; ``bulk`` ones wait for all others."""
        data = json.dumps(line).encode() + b"\n"
        with self.changed:
            if bulk:
                self.bulk.append(data)
                self.bulk_bytes += len(data)
            else:
                self.urgent.append(data)
            self.changed.notify()

    def has_room(self) -> bool:
        """Tell whether more bulk lines make sense now; those that wait keep nobody else from being heard."""
        return self.bulk_bytes < self.under_way.limit

    def piece(self) -> int:
        """Return how many bytes of a log make a line that holds up nobody for long."""
        return self.under_way.limit // 4

    def receive(self, size: int) -> None:
        """Note that so many bytes of bulk lines have arrived at the client."""
        with self.changed:
            self.under_way.take(size, time.monotonic())
            self.changed.notify()

    def next(self) -> bytes:
        """Return what is to be sent next, waiting for it; under the lock."""
        while not self.urgent:
            if self.bulk and not self.under_way.is_full():
                data = self.bulk.popleft()
                self.bulk_bytes -= len(data)
                self.under_way.add(len(data), time.monotonic())
                return data
            if self.bulk:
                self.under_way.wait()
            self.changed.wait()
        return self.urgent.popleft()

    def send(self) -> None:
        """Write what is queued, for ever; a client that went away ends the agent."""
        while True:
            with self.changed:
                data = self.next()
            try:
                while data:
                    data = data[os.write(self.fd, data) :]
            except OSError:
                self.end()
                return

    def end(self) -> None:
        """End the agent: nobody hears it any more."""
        os._exit(0)
