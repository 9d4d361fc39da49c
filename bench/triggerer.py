"""A process that runs triggers as a triggerer does, without Airflow's database, and says how they fare.

It reads one line of JSON, ``[[class path, arguments], …]``, and writes one for each of these:
``{"watched": triggers that look at their job, "fired": those that have ended, "after": seconds}`` as soon as
every one is either, or after :data:`PATIENCE_S`; then ``{"job": …, "of": …, "at": …, "noticed": …}`` for each event;
``of`` is the task's map index.
It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import IO, Any, cast

from airflow.triggers.base import BaseTrigger

from airflow_supervisor_jobs.triggers.programs import SupervisorProgramsTrigger
from bench.stage import cancel

PATIENCE_S = 60.0


class Fleet:
    """The triggers of one process."""

    def __init__(self, triggers: Sequence[BaseTrigger]) -> None:
        self.began = time.monotonic()
        self.triggers = triggers
        self.watched: set[int] = set()
        self.fired: set[int] = set()
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Run them all until the input ends."""
        running = [asyncio.create_task(self.one(number, each)) for number, each in enumerate(self.triggers)]
        reading = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        try:
            await asyncio.wait_for(self.settled(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.say_state()
        await reading
        await cancel(running)

    async def settled(self) -> None:
        """Say so once each looks at its job, or has given up."""
        while len(self.watched | self.fired) < len(self.triggers):
            self.changed.clear()
            await self.changed.wait()
        self.say_state()

    def say_state(self) -> None:
        """How they fare is said."""
        after = time.monotonic() - self.began
        say({"watched": len(self.watched - self.fired), "fired": len(self.fired), "after": after})

    def note(self, number: int) -> None:
        """The trigger of that number looks at its job."""
        self.watched.add(number)
        self.changed.set()

    async def one(self, number: int, trigger: Any) -> None:
        """Run one trigger and tell of its event."""
        ours = isinstance(trigger, SupervisorProgramsTrigger)
        if ours:
            trigger._log = _FirstWord(lambda: self.note(number))
        else:
            trigger._read_log_chunk = _after(trigger._read_log_chunk, lambda: self.note(number))
        async for event in trigger.run():
            at = time.time()
            self.fired.add(number)
            self.changed.set()
            records = event.payload.get("records", {}).values()
            noticed = next(iter(record["noticed_at"] for record in records), None)
            where = trigger.waiting["map_index"] if ours else None
            say({"job": trigger.pin["job"] if ours else trigger.job_id, "of": where, "at": at, "noticed": noticed})


class _FirstWord:
    """A log that is told of a process when its watch has begun."""

    def __init__(self, note: Any) -> None:
        self._note = note

    def info(self, message: str, *_: object) -> None:
        if message.startswith("%s: "):
            self._note()

    def warning(self, *_: object) -> None:
        return None


def _after(work: Any, note: Any) -> Any:
    async def wrapped(*arguments: Any) -> Any:
        found = await work(*arguments)
        note()
        return found

    return wrapped


def say(words: Any) -> None:
    """The line is out."""
    print(json.dumps(words), flush=True)


class Triggerer:
    """Such a process, seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._said = cast("IO[str]", process.stdout)

    def hear(self) -> dict[str, Any]:
        """Return the next line.

        :raises EOFError: it has ended.
        """
        line = self._said.readline()
        if not line:
            raise EOFError("the triggerer has ended")
        return dict(json.loads(line))


@contextmanager
def triggerer(triggers: Sequence[BaseTrigger]) -> Iterator[Triggerer]:
    """Run the triggers in a process of their own for the length of the block."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.triggerer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told = cast("IO[str]", process.stdin)
        told.write(json.dumps([each.serialize() for each in triggers]) + "\n")
        told.flush()
        try:
            yield Triggerer(process)
        finally:
            process.communicate()


def main() -> None:
    """Be that process."""
    triggers = []
    for path, arguments in json.loads(sys.stdin.readline()):
        module, _, name = path.rpartition(".")
        triggers.append(getattr(import_module(module), name)(**arguments))

    async def run() -> None:
        await Fleet(triggers).run()
        # The event loop would wait for those that do not end.
        os._exit(0)

    asyncio.run(run())


if __name__ == "__main__":
    main()
