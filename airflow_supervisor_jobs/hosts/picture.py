"""All that one watch has learned, put together from what the host sends; no I/O, every time is passed in."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_supervisor_jobs.core.ending import grace_of
from airflow_supervisor_jobs.core.judge import View
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.status import EndReason, ProcessStatus, Span
from airflow_supervisor_jobs.hosts.lines import Line, LineReader, lost_words
from airflow_supervisor_jobs.hosts.observations import Changed, Contact, Observation, Output

#: How many last lines of a program a judgement carries.
LAST_LINES = 10

Positions = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Target:
    """Which job a watch is about, and what it wants of it.

    :param owner: who watches; when the job has another owner, it is ``superseded``. None: whoever owns it.
    :param consumer: under which name the host keeps how far the output was delivered; None: it does not.
    :param programs: the programs that count; None: all.
    :param logs: whether output is wanted at all.
    :param start: where the output begins: ``cursor`` (where this consumer stopped), ``beginning``, ``end``, so many
        last lines, or the position of each process's streams.
    """

    job: str
    owner: Mapping[str, str] | None = None
    consumer: str | None = None
    programs: tuple[str, ...] | None = None
    logs: bool = True
    start: str | int | Mapping[str, Mapping[str, int]] = "cursor"


class Picture:
    """What is known now.

    :param now: seconds since the epoch; ``at`` is the monotonic clock's, as every ``at`` here.
    """

    def __init__(self, target: Target, policy: WatchPolicy, *, now: float, at: float) -> None:
        self._target = target
        self._policy = policy
        self._began = at - _age(policy.watched_from, now)
        self._parted: float | None = at - _age(policy.unreachable_from, now)
        refused = policy.refused_from is not None
        self._refused: float | None = at - _age(policy.refused_from, now) if refused else None
        self._started: float | None = None
        self._owner_now: Mapping[str, str] | None = None
        self._gone = False
        self._error: str | None = "not connected yet"
        self._ended: dict[str, tuple[int, float]] = {}
        self._readers: dict[tuple[str, str], LineReader] = {}
        self._ends: Positions = {}
        self._tails: dict[tuple[str, str], deque[tuple[int, str]]] = {}
        self.statuses: dict[str, ProcessStatus] = {}
        self.looked = False
        self.begun = False
        self.delivered: Positions = {}
        self.moved_at = at

    @property
    def reachable(self) -> bool:
        """Whether the host is in sight."""
        return self._parted is None

    @property
    def received(self) -> Positions:
        """How far each stream has arrived."""
        positions: Positions = {}
        for (process, stream), reader in self._readers.items():
            if reader.received is not None:
                positions.setdefault(process, {})[stream] = reader.received
        return positions

    def join(self, answer: Mapping[str, Any], *, host_now: float, at: float) -> Iterator[Observation]:
        """Take in the answer to ``watch``."""
        self.looked, self.begun = True, True
        self._gone = False
        if not self.reachable:
            self._parted, self._refused, self._error = None, None, None
            yield Contact(reachable=True)
        for process, streams in answer.get("from", {}).items():
            for stream, position in streams.items():
                self._readers.setdefault((process, stream), LineReader(position))
                yield from self._pass_over(process, stream, position)
        self._owner_now = answer["job"].get("owner")
        for raw in answer["job"]["processes"]:
            yield from self._status(raw, at, host_now=host_now)
        self._date_start(host_now, at)

    def part(self, error: str, *, refused: bool = False, at: float) -> Iterator[Observation]:
        """The host went out of sight, or lets nobody in."""
        first, self.looked = not self.looked, True
        other = refused != (self._refused is not None)
        if self.reachable or first or other:
            self._parted = at if self._parted is None else self._parted
            yield Contact(reachable=False, error=error, refused=refused)
        if other:
            self._refused = at if refused else None
        self._error = error

    def miss(self, *, at: float) -> Iterator[Observation]:
        """The host is in sight, and the job is not installed there."""
        self.looked, self._gone, self.moved_at = True, True, at
        if not self.reachable:
            self._parted, self._refused, self._error = None, None, None
            yield Contact(reachable=True)

    def take(self, event: Mapping[str, Any], *, at: float) -> Iterator[Observation]:
        """Take in an event of the watch."""
        kind = event["event"]
        if kind == "state":
            yield from self._status(event["process"], at)
        elif kind == "log":
            yield from self._log(event, at)
        elif kind == "owner":
            self._owner_now = event["owner"]
        elif kind == "gone":
            self._gone = True

    def rest(self, *, whole: bool = True) -> Iterator[Observation]:
        """Give the unfinished last line of each stream, and say where the end of a stream has not arrived.

        :param whole: whether it was to arrive.
        """
        for (process, stream), reader in self._readers.items():
            yield from self._outputs(process, stream, reader.flush())
            status = self.statuses.get(process)
            if (
                whole
                and self._target.logs
                and status is not None
                and status.has_ended
                and not self._is_complete(process, stream)
            ):
                where, generation = reader.received or 0, status.generation
                yield Output(process, stream, generation, where, where, None, _UNFINISHED, ours=True)

    def streams(self) -> list[tuple[str, str]]:
        """Return the streams that the host keeps: process and stream."""
        return [(process, stream) for process, stream in self._readers if self._path(process, stream) is not None]

    def reached(self, process: str, stream: str, end: int) -> None:
        """The host has said how far a stream goes: a status tells it only of what has ended."""
        self._ends.setdefault(process, {})[stream] = end

    def newest(self, *, room: int) -> Positions:
        """Return where to go on so that about ``room`` bytes follow; what is before them is passed over."""
        received = self.received
        behind = [key for key in self.streams() if not self._is_complete(*key)]
        for process, stream in behind:
            begin = received[process][stream]
            received[process][stream] = max(begin, self._end(process, stream) - room // len(behind))
        return received

    def last(self, process: str, stream: str, lines: list[Line], *, lost: int = 0) -> Iterator[Observation]:
        """Give the last lines of a stream that was held back, and say how much is left out before them.

        :param lost: how much of that is there no more.
        """
        end = self._end(process, stream)
        yield from self._pass_over(process, stream, lines[0].position if lines else end, lost=lost)
        yield from self._outputs(process, stream, lines)
        reader = self._readers[process, stream]
        reader.received = max(end, reader.received or 0)

    def handed_over(self, output: Output) -> None:
        """Note that the line was taken by whoever watches."""
        self.delivered.setdefault(output.process, {})[output.stream] = output.end

    def written(self, process: str) -> list[tuple[str, Span | None]]:
        """Return the streams to which this generation has written, or may have, and where; None: it is not known."""
        status = self.statuses[process]
        kept = [stream for stream in ("stderr", "stdout") if self._path(process, stream) is not None]
        if status.record is None or status.record.reason is EndReason.LOST:  # nobody saw the end of its output
            return [(stream, None) for stream in kept]
        spans = [(stream, status.positions.get(stream)) for stream in kept]
        return [(stream, span) for stream, span in spans if span is None or span.end > span.start]

    def add_last_lines(self, process: str, stream: str, lines: list[str]) -> None:
        """Add what a process said last, where it did not come by itself."""
        generation = self.statuses[process].generation
        self._tails[process, stream] = deque([(generation, line) for line in lines if line], LAST_LINES)

    def view(self, *, at: float) -> View:
        """Return what is to be judged."""
        return View(
            statuses=self.statuses,
            owner=self._target.owner,
            owner_now=self._owner_now,
            gone=self._gone,
            reachable=self.reachable,
            error=self._error,
            watched_s=at - self._began,
            running_s=None if self._started is None else at - self._started,
            unreachable_s=0.0 if self._parted is None else at - self._parted,
            refused_s=None if self._refused is None else at - self._refused,
            ended_s={process: at - seen for process, (_generation, seen) in self._ended.items()},
            last_lines={process: lines for process in self.statuses if (lines := self._last_lines(process))},
        )

    def wait_s(self, *, now: float, at: float) -> float | None:
        """Return the seconds after which time alone may change the judgement, or None."""
        view, policy = self.view(at=at), self._policy
        waits = [grace_of(status) - view.ended_s.get(name, 0.0) for name, status in self.statuses.items()]
        if policy.check_timeout is not None:
            waits.append(policy.check_timeout - view.watched_s)
        if not view.reachable and policy.unreachable_timeout is not None:
            waits.append(policy.unreachable_timeout - view.unreachable_s)
        if view.refused_s is not None:
            waits.append(policy.refused_timeout - view.refused_s)
        if view.reachable and policy.runtime is not None and view.running_s is not None:
            waits.append(policy.runtime - view.running_s)
        if view.reachable and policy.endtime is not None:
            waits.append(min(policy.endtime - now, 60.0))  # the wall clock may be set meanwhile
        return min((wait for wait in waits if wait > 0), default=None)

    def is_over(self, process: str) -> bool:
        """Whether nothing more will be written by a process that has ended: its tree is gone."""
        status = self.statuses[process]
        return not status.has_ended or status.record is None or status.record.complete

    def is_settled(self, process: str) -> bool:
        """Whether nothing more will come from a process that has ended: its tree is gone, its output is here."""
        return not self.statuses[process].has_ended or (self.is_over(process) and self.has_caught_up(process))

    def has_caught_up(self, process: str) -> bool:
        """Whether all output that the host has told of has arrived."""
        streams = _ends(self.statuses[process]) if self._target.logs else ()
        return all(self._is_complete(process, stream) for stream in streams)

    def _is_complete(self, process: str, stream: str) -> bool:
        received = self._readers.get((process, stream), _UNREAD).received or 0
        return received >= self._end(process, stream)

    def _end(self, process: str, stream: str) -> int:
        return max(_ends(self.statuses[process]).get(stream, 0), self._ends.get(process, {}).get(stream, 0))

    def _path(self, process: str, stream: str) -> str | None:
        status = self.statuses.get(process)
        return None if status is None else {"stdout": status.stdout, "stderr": status.stderr}[stream]

    def _pass_over(self, process: str, stream: str, position: int, *, lost: int = 0) -> Iterator[Observation]:
        reader, status = self._readers[process, stream], self.statuses.get(process)
        begin = position if reader.received is None else reader.received
        if position > begin and status is not None:
            if lost:
                yield from self._outputs(process, stream, reader.pass_over(begin + lost, lost_words(lost)))
            held, since = position - begin - lost, reader.time or status.started_at
            words = _held_words(held, self._target.job, status.program, since)
            yield from self._outputs(process, stream, reader.pass_over(position, words) if held > 0 else [])

    def _status(self, raw: Mapping[str, Any], at: float, host_now: float | None = None) -> Iterator[Observation]:
        status = ProcessStatus.from_wire(raw, host=self._policy.host)
        if self._target.programs is not None and status.program not in self._target.programs:
            return
        before = self.statuses.get(status.process)
        self.statuses[status.process] = status
        self.moved_at = at
        if not status.has_ended:
            self._ended.pop(status.process, None)
        elif self._ended.get(status.process, (None, at))[0] != status.generation:
            age = 0.0 if host_now is None else _age(status.ended_at, host_now)
            self._ended[status.process] = (status.generation, at - age)
        if self._started is None and status.started_at is not None and before is not None:
            self._started = at
        if status != before:
            yield Changed(status)

    def _date_start(self, host_now: float, at: float) -> None:
        """Ages are taken from the host's own clock once, and then counted: neither clock's steps matter."""
        if self._started is not None:
            return
        starts = [status.started_at for status in self.statuses.values() if status.started_at is not None]
        begin = self._policy.started_at if self._policy.started_at is not None else min(starts, default=None)
        if begin is not None:
            self._started = at - max(0.0, host_now - begin)

    def _log(self, event: Mapping[str, Any], at: float) -> Iterator[Observation]:
        process, stream = event["process"], event["stream"]
        self.moved_at = at
        if process not in self.statuses:
            return
        reader = self._readers.setdefault((process, stream), LineReader())
        lines = reader.feed(
            base64.b64decode(event["data"]),
            position=event["position"],
            generation=event["generation"],
            time=event["time"],
            lost=event["lost"],
        )
        yield from self._outputs(process, stream, lines)

    def _outputs(self, process: str, stream: str, lines: list[Line]) -> Iterator[Observation]:
        tail = self._tails.setdefault((process, stream), deque(maxlen=LAST_LINES))
        for line in lines:
            if line.text and not line.ours:
                tail.append((line.generation, line.text))
            yield Output(
                process, stream, line.generation, line.position, line.end, line.time, line.text, ours=line.ours
            )

    def _last_lines(self, process: str) -> tuple[str, ...]:
        """Why a program ended is more often said on stderr."""
        present = self.statuses[process].generation
        said = {
            stream: tuple(text for generation, text in self._tails.get((process, stream), ()) if generation == present)
            for stream in ("stderr", "stdout")
        }
        return said["stderr"] or said["stdout"]


_UNREAD = LineReader()
_UNFINISHED = "[the rest of its output has not arrived: the full log is on the host]"


def _held_words(count: int, job: str, program: str, since: float | None) -> str:
    command = f"supervisor-jobs logs {job} --program {program}"
    if since is not None:
        command += datetime.fromtimestamp(since, timezone.utc).strftime(" --since %Y-%m-%dT%H:%M:%SZ")
    return f"[{count} bytes of output are held back here. They are on the host: {command}]"


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


def _ends(status: ProcessStatus) -> dict[str, int]:
    """Where each stream of the process ends, as far as the host knows."""
    ends = {stream: span.end for stream, span in status.positions.items() if span is not None}
    if status.record is not None and status.record.positions is not None:
        ends.update(status.record.positions)
    kept = {"stdout": status.stdout, "stderr": status.stderr}
    return {stream: end for stream, end in ends.items() if kept.get(stream) is not None}
