"""From the bytes that a program wrote to lines that are safe to show, and back to positions."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A longer line is cut into pieces of this many bytes.
MAX_LINE_BYTES = 64 * 1024
_CUT = " [cut: the line goes on]"

# Colours and "erase the rest of the line" mean nothing in a log. All else that could move a cursor, set a title or
# turn text around is shown, not obeyed.
_DECORATION = re.compile(r"\x1b\[[0-9;:]*[mK]")
_HARMFUL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Return ``text`` without colours, and with every other control character written out, as ``\x1b``."""
    if text.isprintable():
        return text
    return _HARMFUL.sub(_written_out, _DECORATION.sub("", text))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@dataclass(frozen=True)
class Line:
    """One line, or a piece of one.

    :param position: of its first byte in all that the process ever wrote to the stream, and ``end`` of the first
        byte after it.
    :param ours: it was not written by the program: we say that bytes were lost.
    """

    generation: int
    position: int
    end: int
    time: float | None
    text: str
    ours: bool = False


class LineReader:
    """Cuts one stream into lines, whatever the pieces are that it arrives in, and however often they arrive.

    A line ends with LF, CR LF or CR (progress bars). Bytes that were seen before are left out, bytes that are missing
    are said to be.
    """

    def __init__(self, expected: int | None = None) -> None:
        self.received = expected
        self._partial = bytearray()
        self._position = 0
        self._generation = 0
        self._time: float | None = None
        self._after_cr = False

    def feed(self, data: bytes, *, position: int, generation: int, time: float | None, lost: int = 0) -> list[Line]:
        """Return the lines that ``data`` completes."""
        lines: list[Line] = []
        seen = 0 if self.received is None else self.received - position
        if seen > 0:
            data, position, lost = data[seen:], self.received or 0, 0
            if not data:
                return lines
        missing = max(lost, -seen)
        if missing > 0 or generation != self._generation:
            lines += self.flush()
            self._after_cr = False
        if missing > 0:
            lines.append(_loss(missing, position, generation))
        self._generation = generation
        self.received = position + len(data)
        lines += self._split(data, position, time)
        return lines

    def flush(self) -> list[Line]:
        """Return the unfinished last line, if there is one."""
        return [self._take()] if self._partial else []

    def _split(self, data: bytes, position: int, time: float | None) -> list[Line]:
        lines = []
        if self._after_cr and data.startswith(b"\n"):
            data, position = data[1:], position + 1
        self._after_cr = data.endswith(b"\r")
        for piece in data.splitlines(keepends=True):
            if not self._partial:
                self._position, self._time = position, time
            self._partial += piece
            position += len(piece)
            while len(self._partial) > MAX_LINE_BYTES + 2:
                lines.append(self._take(_character_boundary(self._partial, MAX_LINE_BYTES)))
            if piece.endswith((b"\n", b"\r")):
                lines.append(self._take())
        return lines

    def _take(self, size: int | None = None) -> Line:
        raw = bytes(self._partial[:size])
        del self._partial[:size]
        begin, self._position = self._position, self._position + len(raw)
        text = harmless(raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
        return Line(self._generation, begin, self._position, self._time, text + (_CUT if size else ""))


def _character_boundary(data: bytearray, size: int) -> int:
    """Return the largest size up to ``size`` that cuts no UTF-8 character in two."""
    for back in range(4):
        if data[size - back] & 0xC0 != 0x80:
            return size - back
    return size


def _loss(count: int, position: int, generation: int) -> Line:
    text = f"[{count} bytes of output are lost here: they were rotated away, or could not be written]"
    return Line(generation, position, position, None, text, ours=True)
