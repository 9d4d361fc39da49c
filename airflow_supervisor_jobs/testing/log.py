"""The output of a process, kept in memory and read by position."""

from __future__ import annotations

import base64
from bisect import bisect_right
from typing import Any


class MemoryLog:
    """All that a process ever wrote to one stream."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._data = bytearray()
        #: Where what was written at a time, by a generation, begins.
        self._marks: list[tuple[int, float, int]] = []

    @property
    def end(self) -> int:
        """The position after the last byte."""
        return len(self._data)

    def write(self, data: bytes, *, time: float, generation: int) -> None:
        """Append ``data``."""
        if data:
            self._marks.append((self.end, time, generation))
            self._data += data

    def read(self, position: int, limit: int) -> list[dict[str, Any]]:
        """Return up to ``limit`` bytes from ``position`` on, as chunks."""
        chunks: list[dict[str, Any]] = []
        stop = min(self.end, position + limit)
        while position < stop:
            after = bisect_right(self._marks, position, key=lambda mark: mark[0])
            _, time, generation = self._marks[after - 1]
            until = min(stop, self._marks[after][0] if after < len(self._marks) else self.end)
            data = base64.b64encode(self._data[position:until]).decode()
            chunks.append(
                {"stream": self._stream, "generation": generation, "position": position, "time": time}
                | {"data": data, "lost": 0}
            )
            position = until
        return chunks

    def last(self, lines: int) -> int:
        """Return where the last ``lines`` lines begin."""
        at = len(self._data.rstrip(b"\n")) if lines else self.end
        for _ in range(lines):
            at = self._data.rfind(b"\n", 0, max(at, 0))
            if at < 0:
                return 0
        return at + 1 if lines else at

    def since(self, time: float) -> int:
        """Return where what was written at ``time`` or later begins."""
        return next((position for position, at, _ in self._marks if at >= time), self.end)

    def of(self, generation: int) -> tuple[int, int]:
        """Return where a generation's output begins and ends."""
        starts = [position for position, _, one in self._marks if one == generation]
        after = [position for position, _, one in self._marks if one > generation]
        return (starts[0] if starts else self.end), (after[0] if after else self.end)
