"""Reading a process's logs by position, over all rotated files that are left."""

import base64
import bisect
import os
import time

from .runner import read_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_BACKUPS = 100000
LOOKS = 50
# A stream without a line break is not read whole to find its last line.
LONGEST_TAIL = 64 << 20


class Entry:
    """One line of the index: what was read at a time, from a position on."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.position, self.time, self.generation = int(words[0]), float(words[1]), int(words[2])
        self.dropped = int(words[3]) if len(words) > 3 else 0


class StreamReader:
    """Reads one stream of one process."""

    def __init__(self, path: str, index: str) -> None:
        self.path, self.index = path, index

    def segments(self) -> "tuple[list[tuple[int, int, int]], list[Entry]]":
        """Return ((start, descriptor, size) of each file, oldest first; entries of the index).

        The index knows the position of the first byte of one file, by its inode, and the files' order gives the rest.
        A rotation under way shows as a file seen twice, or as a number left out: then look again, in a moment.
        """
        for attempt in range(LOOKS):
            time.sleep(0.001 if attempt else 0)
            base, inode, lines = read_index(self.index)
            fds, is_whole = self.open_all()
            stats = [os.fstat(fd) for fd in fds]
            inodes = [stat.st_ino for stat in stats]
            is_whole = is_whole or attempt == LOOKS - 1
            if inode in inodes and len(set(inodes)) == len(inodes) and is_whole:
                start = base - sum(stat.st_size for stat in stats[inodes.index(inode) + 1 :])
                segments = []
                for fd, stat in zip(reversed(fds), reversed(stats)):
                    segments.append((start, fd, stat.st_size))
                    start += stat.st_size
                return segments, parse(lines)
            for fd in fds:
                os.close(fd)
            if not fds or inode < 0:
                break
        return [], []

    def open_all(self) -> "tuple[list[int], bool]":
        """Return descriptors of the files, newest first, and whether they are all that there are."""
        fds = []
        for number in range(MOST_BACKUPS):
            try:
                fds.append(os.open(self.path if number == 0 else "%s.%d" % (self.path, number), os.O_RDONLY))
            except OSError:
                if number:
                    # The files are shifted from the oldest on, so there is a gap before the next one until it is done.
                    return fds, not os.path.exists("%s.%d" % (self.path, number + 1))
        return fds, True

    def bounds(self) -> "tuple[int, int]":
        """Return the positions of the oldest byte that is left and of the end."""
        segments, _ = self.segments()
        try:
            if not segments:
                return 0, 0
            return max(0, segments[0][0]), segments[-1][0] + segments[-1][2]
        finally:
            for _, fd, _ in segments:
                os.close(fd)

    def read(self, position: int, limit: int) -> "tuple[list[dict[str, Any]], int, int]":
        """Return (chunks, next position, end), at most ``limit`` bytes from ``position`` on.

        What retention or a full disk took is counted in ``lost`` of the chunk after it.
        """
        segments, entries = self.segments()
        try:
            end = segments[-1][0] + segments[-1][2] if segments else position
            starts = [entry.position for entry in entries]
            chunks = []  # type: list[dict[str, Any]]
            for start, fd, size in segments:
                while position < start + size and limit > 0:
                    at = max(position, start)
                    after = bisect.bisect_right(starts, at)
                    entry = entries[after - 1] if after else None
                    until = min(start + size, starts[after] if after < len(starts) else end, at + limit)
                    data = os.pread(fd, until - at, at - start)
                    if not data:
                        break  # it was the oldest, and has just been emptied
                    dropped = entry.dropped if entry and entry.position == at else 0
                    chunks.append({
                        "position": at, "time": entry.time if entry else None, "lost": at - position + dropped,
                        "generation": entry.generation if entry else 0, "data": base64.b64encode(data).decode(),
                    })  # fmt: skip
                    position = at + len(data)
                    limit -= len(data)
            return chunks, position, end
        finally:
            for _, fd, _ in segments:
                os.close(fd)

    def position_of_last(self, lines: int) -> int:
        """Return where the last ``lines`` lines begin, or where a long last part of the stream does."""
        first, end = self.bounds()
        first = max(first, end - LONGEST_TAIL)
        position, wanted = end, lines
        while position > first and wanted >= 0:
            step = max(first, position - 65536)
            text = b"".join(base64.b64decode(chunk["data"]) for chunk in self.read(step, position - step)[0])
            if position == end and text.endswith(b"\n"):
                wanted += 1
            breaks = text.count(b"\n")
            if breaks >= wanted > 0:
                at = len(text)
                for _ in range(wanted):
                    at = text.rfind(b"\n", 0, at)
                return step + at + 1
            wanted -= breaks
            position = step
        return first

    def position_at(self, moment: float) -> int:
        """Return where what was read at ``moment`` or later begins."""
        _, entries = self.segments_closed()
        for entry in entries:
            if entry.time >= moment:
                return entry.position
        return self.bounds()[1]

    def position_of_generation(self, generation: int) -> "tuple[int, int | None]":
        """Return where a generation's output begins, and where the next one's does."""
        _, entries = self.segments_closed()
        starts = [entry.position for entry in entries if entry.generation == generation]
        ends = [entry.position for entry in entries if entry.generation > generation]
        return (starts[0] if starts else self.bounds()[1]), (ends[0] if ends else None)

    def position_since_generation(self, generation: int) -> int:
        """Return where the output of a generation and all after it begins."""
        _, entries = self.segments_closed()
        return min([entry.position for entry in entries if entry.generation >= generation] or [self.bounds()[1]])

    def segments_closed(self) -> "tuple[list[tuple[int, int, int]], list[Entry]]":
        """Return what :meth:`segments` does, the descriptors closed."""
        segments, entries = self.segments()
        for _, fd, _ in segments:
            os.close(fd)
        return segments, entries


def parse(lines: "list[str]") -> "list[Entry]":
    """Return the entries of an index; a line that a full disk cut is left out."""
    entries = []
    for line in lines:
        try:
            entries.append(Entry(line))
        except (ValueError, IndexError):
            continue
    return entries


def answer(reader: StreamReader, params: "dict[str, Any]") -> "dict[str, Any]":
    """Return the answer of the verb ``logs``."""
    limit = min(int(params.get("limit") or 262144), 262144)
    position = params.get("position")
    if position is None:
        if params.get("tail") is not None:
            position = reader.position_of_last(int(params["tail"]))
        elif params.get("since") is not None:
            position = reader.position_at(float(params["since"]))
        elif params.get("generation") is not None:
            position = reader.position_of_generation(int(params["generation"]))[0]
        else:
            position = reader.bounds()[0]
    stop = None
    if params.get("generation") is not None:
        stop = reader.position_of_generation(int(params["generation"]))[1]
        if stop is not None:
            limit = min(limit, max(0, stop - position))
    chunks, reached, end = reader.read(position, limit)
    for chunk in chunks:
        chunk["stream"] = params["stream"]
    end = end if stop is None else stop
    return {"chunks": chunks, "next": reached, "end": end, "lost": sum(chunk["lost"] for chunk in chunks)}
