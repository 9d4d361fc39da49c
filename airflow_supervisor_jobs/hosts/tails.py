"""The last lines of a stream, asked for from its end, however long the stream is."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.lines import Line, LineReader

#: Bytes that one answer of the host may have.
_LIMIT_BYTES = 262_144
_FIRST_STEP_BYTES = 65_536


@dataclass(frozen=True)
class Stretch:
    """A part of what a process has written to a stream, and where it is asked for.

    :param begin: the position of its first byte that the host still has, and ``end`` of the byte after its last.
    :param lost: how many bytes before ``begin`` are there no more.
    """

    pipe: Pipe
    job: str
    process: str
    stream: str
    begin: int
    end: int
    lost: int = 0

    async def lines(self) -> AsyncIterator[Line]:
        """Yield all its lines, as far as it went when it was found."""
        reader = LineReader(self.begin)
        while (position := reader.received or 0) < self.end:
            limit = min(_LIMIT_BYTES, self.end - position)
            answer = await _ask(self, {"position": position}, limit)
            for chunk in answer["chunks"]:
                where = {name: chunk[name] for name in ("position", "generation", "time", "lost")}
                for line in reader.feed(b64decode(chunk["data"]), **where):
                    yield line
            if not answer["chunks"]:
                break
        for line in reader.flush():
            yield line

    async def last_lines(self, count: int, *, most_bytes: float = float("inf")) -> list[Line]:
        """Return its last lines; fewer where these are more than ``most_bytes``, and then the first may be cut."""
        step, lines = _FIRST_STEP_BYTES, list[Line]()
        while count and len(lines) <= count:
            begin = max(self.begin, self.end - int(min(step, most_bytes)))
            lines = [line async for line in replace(self, begin=begin).lines()]
            if begin == self.begin or step >= most_bytes:
                break
            step *= 4
        return lines[-count:] if count else []


async def find_stretch(pipe: Pipe, job: str, process: str, stream: str, **begin: Any) -> Stretch:
    """Return what begins at a ``position``, ``since`` a time (seconds since the epoch), or is of a ``generation``.

    :raises HostError: the host cannot be asked.
    """
    unknown = Stretch(pipe, job, process, stream, begin=0, end=0)
    answer = await _ask(unknown, begin, limit=1)
    if not answer["chunks"]:
        return replace(unknown, begin=answer["end"], end=answer["end"])
    first = answer["chunks"][0]
    return replace(unknown, begin=first["position"], end=answer["end"], lost=first["lost"])


async def _ask(about: Stretch, begin: Mapping[str, Any], limit: int) -> dict[str, Any]:
    where = {"position": None, "tail": None, "since": None, "generation": None, **begin}
    names = {"job": about.job, "process": about.process, "stream": about.stream}
    return await about.pipe.request("logs", **names, **where, limit=limit)
