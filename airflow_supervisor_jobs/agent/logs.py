"""Reading a process's logs by position, over all rotated files that are left."""

import base64
import bisect
import contextlib
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

MOST_BACKUPS = 100000
LOOKS = 50
# Bytes of an index in which no more is searched than read.
INDEX_BLOCK = 4096
# A stream without a line break is not read whole to find its last line.
LONGEST_TAIL = 64 << 20


class Entry:
    """One line of the index: what was read at a time, from a position on."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.position, self.time, self.generation = int(words[0]), float(words[1]), int(words[2])
        self.dropped = int(words[3]) if len(words) > 3 else 0


class Index:
    """The index of a stream, open for reading. It grows with the log, so no more of it is read than is asked for."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "rb")  # noqa: SIM115 -- whoever asks closes it
        first = self.file.readline()
        self.begin = len(first)
        try:
            self.base, self.inode = (int(word) for word in first.split())
        except ValueError:  # it is being made
            self.base, self.inode = 0, -1

    def entries(self, is_early: "Callable[[Entry], bool] | None" = None) -> "Iterator[Entry]":
        """Yield the entries in order; of those that are too early, all but a few are left out.

        :param is_early: true of all entries up to one, and of none after it.
        """
        low, high = self.begin, os.fstat(self.file.fileno()).st_size
        while is_early and high - low > INDEX_BLOCK:
            middle = (low + high) // 2
            self.file.seek(middle)
            self.file.readline()
            at = self.file.tell()
            entry = next(self.parsed(), None)
            if entry is not None and is_early(entry):
                low = at
            else:
                high = middle
        self.file.seek(low)
        return self.parsed()

    def parsed(self) -> "Iterator[Entry]":
        """Yield the entries from where the file is read now; a line that a full disk cut is left out."""
        for line in self.file:
            try:
                yield Entry(line.decode())
            except (ValueError, IndexError):
                continue


class StreamReader:
    """Reads one stream of one process."""

    def __init__(self, path: str, index: str) -> None:
        self.path, self.index = path, index

    @contextlib.contextmanager
    def look(self) -> "Iterator[tuple[list[tuple[int, int, int]], Index | None]]":
        """Have for a while ((start, descriptor, size) of each file, oldest first; the index, where there is one)."""
        with contextlib.ExitStack() as opened:
            yield self.segments(opened)

    def segments(self, opened: contextlib.ExitStack) -> "tuple[list[tuple[int, int, int]], Index | None]":
        """Return what :meth:`look` has, to be closed with ``opened``.

        The index knows the position of the first byte of one file, by its inode, and the files' order gives the rest.
        A rotation under way shows as a file seen twice, or as a number left out: then look again, in a moment.
        """
        for attempt in range(LOOKS):
            opened.close()
            time.sleep(0.001 if attempt else 0)
            try:
                index = Index(self.index)
            except OSError:
                break
            opened.callback(index.file.close)
            fds, is_whole = self.open_all()
            for fd in fds:
                opened.callback(os.close, fd)
            stats = [os.fstat(fd) for fd in fds]
            inodes = [stat.st_ino for stat in stats]
            is_whole = is_whole or attempt == LOOKS - 1
            if index.inode in inodes and len(set(inodes)) == len(inodes) and is_whole:
                start = index.base - sum(stat.st_size for stat in stats[inodes.index(index.inode) + 1 :])
                segments = []
                for fd, stat in zip(reversed(fds), reversed(stats)):
                    segments.append((start, fd, stat.st_size))
                    start += stat.st_size
                return segments, index
            if not fds or index.inode < 0:
                break
        return [], None

    def first_entry(self, is_early: "Callable[[Entry], bool]") -> "Entry | None":
        """Return the first entry that is not too early, None where there is none."""
        with self.look() as (_, index):
            entries = index.entries(is_early) if index else iter(())
            return next((entry for entry in entries if not is_early(entry)), None)

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
        with self.look() as (segments, _):
            if not segments:
                return 0, 0
            return max(0, segments[0][0]), segments[-1][0] + segments[-1][2]

    def read(self, position: int, limit: int) -> "tuple[list[dict[str, Any]], int, int]":
        """Return (chunks, next position, end), at most ``limit`` bytes from ``position`` on.

        What retention or a full disk took is counted in ``lost`` of the chunk after it.
        """
        with self.look() as (segments, index):
            if not segments or index is None:
                return [], position, position
            end = segments[-1][0] + segments[-1][2]
            first = max(position, segments[0][0])
            entries = []  # type: list[Entry]
            for entry in index.entries(lambda entry: entry.position <= first):
                entries.append(entry)
                if entry.position > first + limit:
                    break
            starts = [entry.position for entry in entries]
            chunks = []  # type: list[dict[str, Any]]
            for start, fd, size in segments:
                while position < start + size and limit > 0:
                    at = max(position, start)
                    after = bisect.bisect_right(starts, at)
                    known = entries[after - 1] if after else None
                    until = min(start + size, starts[after] if after < len(starts) else end, at + limit)
                    data = os.pread(fd, until - at, at - start)
                    if not data:
                        break  # it was the oldest, and has just been emptied
                    dropped = known.dropped if known and known.position == at else 0
                    chunks.append({
                        "position": at, "time": known.time if known else None, "lost": at - position + dropped,
                        "generation": known.generation if known else 0, "data": base64.b64encode(data).decode(),
                    })  # fmt: skip
                    position = at + len(data)
                    limit -= len(data)
            return chunks, position, end

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
        """Return where what was read at ``moment`` or later begins; all is looked at, for a clock may be set back."""
        with self.look() as (_, index):
            for entry in index.entries() if index else ():
                if entry.time >= moment:
                    return entry.position
        return self.bounds()[1]

    def position_of_generation(self, generation: int) -> "tuple[int, int | None]":
        """Return where a generation's output begins, and where the next one's does."""
        begin = self.first_entry(lambda entry: entry.generation < generation)
        end = self.first_entry(lambda entry: entry.generation <= generation)
        is_there = begin is not None and begin.generation == generation
        return (begin.position if begin and is_there else self.bounds()[1]), (end.position if end else None)

    def position_since_generation(self, generation: int) -> int:
        """Return where the output of a generation and all after it begins."""
        begin = self.first_entry(lambda entry: entry.generation < generation)
        return begin.position if begin else self.bounds()[1]


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
