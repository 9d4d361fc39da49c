"""From the bytes that a program wrote to lines that are safe to show, and back to positions."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A longer line is cut into pieces of this many bytes.
MAX_LINE_BYTES = 64 * 1024
#: Seconds between two states that are told of a line that overwrites itself.
PROGRESS_EVERY_S = 60.0
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

    A line ends with LF or CR LF. What a CR alone ends is overwritten by what follows, as on a terminal, so that a
    progress bar is one line; while it goes on, its state is a line of its own every :data:`PROGRESS_EVERY_S`.
    Bytes that were seen before are left out, bytes that are missing are said to be.
    """

    def __init__(self, expected: int | None = None) -> None:
        self.received = expected
        self.time: float | None = None
        self._partial = bytearray()
        self._position = 0
        self._end = 0
        self._generation = 0
        self._time: float | None = None
        self._told_at: float | None = None
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
        self.time = time if time is not None else self.time
        lines += self._split(data, position, time)
        return lines

    def flush(self) -> list[Line]:
        """Return the unfinished last line, if there is one."""
        return [self._take()] if self._partial else []

    def pass_over(self, position: int, words: str) -> list[Line]:
        """Go on at ``position``, and say in ``words`` what is left out before it."""
        lines = [*self.flush(), Line(self._generation, self.received or 0, position, None, words, ours=True)]
        self.received, self._after_cr = position, False
        return lines

    def _split(self, data: bytes, position: int, time: float | None) -> list[Line]:
        lines = []
        for piece in data.splitlines(keepends=True):
            position += len(piece)
            if self._after_cr and _is_blank(piece):  # the rest of CR LF, whose line was told
                self._after_cr = not piece.endswith(b"\n")
                continue
            self._after_cr = False
            if not self._partial:
                self._position, self._time = position - len(piece), time
            elif self._partial.endswith(b"\r") and not _is_blank(piece):
                self._partial.clear()
                self._time = time
            self._partial += piece
            self._end = position
            while len(self._partial) > MAX_LINE_BYTES + 2:
                lines.append(self._take(_character_boundary(self._partial, MAX_LINE_BYTES)))
            self._after_cr = not piece.endswith(b"\n") and self._is_due(piece, time)
            if piece.endswith(b"\n") or self._after_cr:
                self._told_at = time
                lines.append(self._take())
        return lines

    def _is_due(self, piece: bytes, time: float | None) -> bool:
        """Tell whether what a CR has ended is told although it will be overwritten."""
        if time is None or not piece.endswith(b"\r"):
            return False
        self._told_at = time if self._told_at is None else self._told_at
        return abs(time - self._told_at) >= PROGRESS_EVERY_S  # the clock may be set back

    def _take(self, size: int | None = None) -> Line:
        raw = bytes(self._partial[:size])
        del self._partial[:size]
        begin, self._position = self._position, self._end - len(self._partial)
        text = harmless(raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
        return Line(self._generation, begin, self._position, self._time, text + (_CUT if size else ""))


def _is_blank(piece: bytes) -> bool:
    return not piece.strip(b"\r\n")


def _character_boundary(data: bytearray, size: int) -> int:
    """Return the largest size up to ``size`` that cuts no UTF-8 character in two."""
    for back in range(4):
        if data[size - back] & 0xC0 != 0x80:
            return size - back
    return size


def lost_words(count: int) -> str:
    """Return what is said of bytes that are nowhere any more."""
    return f"[{count} bytes of output are lost here: they were rotated away, or could not be written]"


def _loss(count: int, position: int, generation: int) -> Line:
    return Line(generation, position, position, None, lost_words(count), ours=True)
