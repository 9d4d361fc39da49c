"""Lines to the client, and the errors that it may be told."""

import collections
import json
import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BULK_LINES = 64


class Refusal(Exception):
    """A request that cannot be done; ``code`` is one of docs/reference/protocol.md."""

    def __init__(self, code: str, message: str, job: "str | None" = None, program: "str | None" = None) -> None:
        super().__init__(message)
        self.code, self.message, self.job, self.program = code, message, job, program

    def to_json(self) -> "dict[str, Any]":
        """Return the error as it stands in an answer."""
        return {"code": self.code, "message": self.message, "job": self.job, "program": self.program}


class Outbox:
    """Sends lines in a thread of its own; answers and states overtake log lines."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.urgent = collections.deque()  # type: collections.deque[bytes]
        self.bulk = collections.deque()  # type: collections.deque[bytes]
        self.changed = threading.Condition()
        self.closed = False
        threading.Thread(target=self.send, daemon=True).start()

    def put(self, line: "dict[str, Any]", bulk: bool = False) -> None:
        """Queue a line; ``bulk`` ones wait for all others."""
        data = json.dumps(line).encode() + b"\n"
        with self.changed:
            (self.bulk if bulk else self.urgent).append(data)
            self.changed.notify()

    def has_room(self) -> bool:
        """Tell whether more bulk lines make sense now; those that wait keep nobody else from being heard."""
        return len(self.bulk) < BULK_LINES

    def send(self) -> None:
        """Write what is queued, for ever; a client that went away ends the agent."""
        while True:
            with self.changed:
                while not self.urgent and not self.bulk:
                    self.changed.wait()
                data = (self.urgent or self.bulk).popleft()
            try:
                while data:
                    data = data[os.write(self.fd, data) :]
            except OSError:
                os._exit(0)
