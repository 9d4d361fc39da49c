"""A pipe over any channel: everything but the bytes' way."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from typing_extensions import override

from airflow_supervisor_jobs.exceptions import HostError, HostUnreachable, ProtocolError
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.bootstrap import our_supervisor, start_agent
from airflow_supervisor_jobs.hosts.channel import Channel, last_lines
from airflow_supervisor_jobs.hosts.protocol import Answer, Conversation, Event, Refused

T = TypeVar("T")

#: Seconds without a byte after which a host is unreachable, and between our pings.
SILENCE_LIMIT = 30
PING_INTERVAL = 20
#: Bytes of events that may wait for their readers before a pipe is given up.
MAX_WAITING = 64 * 1024 * 1024
#: Bytes of log events after which the agent is told that they have arrived, and how many events may wait meanwhile.
RECEIPT_BYTES = 16 * 1024
ENOUGH_WAITING = 8 * 1024 * 1024
#: Seconds that an agent's last words may take after its output ended.
_EXIT_WAIT = 1


def in_empty_context(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Return a task that inherits no context variables: Airflow routes log lines by them."""
    return contextvars.Context().run(asyncio.create_task, work)


def in_background(work: Coroutine[Any, Any, Any]) -> None:
    """Do ``work`` though nobody waits for it; that the host goes out of sight meanwhile is no matter."""
    task = in_empty_context(_quietly(work))
    _BACKGROUND.add(task)
    task.add_done_callback(_BACKGROUND.discard)


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(HostError):
        await work


#: Keeps the tasks alive that nobody waits for.
_BACKGROUND: set[asyncio.Task[None]] = set()


class StreamPipe(Pipe):
    """A :class:`Pipe` to an agent at the end of a :class:`Channel`.

    :param settings: where the agent is started, and how.
    """

    def __init__(self, settings: HostSettings) -> None:
        self.host = settings.host
        self.settings = settings
        self._conversation = Conversation(settings.host)
        self._channel: Channel | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._mailboxes: dict[int, _Mailbox] = {}
        self._left: set[int] = set()
        self._waiting_bytes = 0
        self._arrived_bytes = 0
        self._idle_seconds = 0
        self._silent_seconds = 0
        self._end: HostError | None = None
        #: What the agent's ``hello`` answered.
        self.hello: Mapping[str, Any] = {}

    @abstractmethod
    async def _connect(self) -> Channel:
        """Return a channel to a process that executes the loader's stub."""

    @property
    def python(self) -> str:
        """The command that runs the agent."""
        return self.settings.python or "python3"

    @property
    def broken(self) -> bool:
        """Whether the pipe has ended, by itself or by :meth:`close`."""
        return self._end is not None

    @override
    async def open(self) -> Mapping[str, Any]:
        try:
            self.hello = await in_empty_context(self._open())
        except BaseException:
            await self.close()
            raise
        return self.hello

    @override
    async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
        self._check_open()
        number, line = self._conversation.ask(verb, params)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await self._send(line)
            return await answer
        finally:
            self._answers.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, even where the send raised first

    @override
    async def events(self, sub: int) -> AsyncIterator[dict[str, Any]]:
        mailbox = self._mailbox(sub)
        try:
            while True:
                event = await mailbox.get()
                if event is None:
                    break
                self._waiting_bytes -= event.size
                self._say_received()
                yield event.body
            if not isinstance(self._end, _Closed):
                self._check_open()
        finally:
            self.forget(sub)

    def forget(self, sub: int) -> None:
        """Drop the events of a watch that nobody will read."""
        mailbox = self._mailboxes.pop(sub, None)
        self._left.add(sub)
        if mailbox is not None:
            self._waiting_bytes -= sum(event.size for event in mailbox.waiting)
            mailbox.put(None)

    @override
    async def close(self) -> None:
        self._finish(_Closed("the pipe was closed.", host=self.host))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    async def _open(self) -> Mapping[str, Any]:
        self._channel = await self._connect()
        try:
            return await asyncio.wait_for(self._begin(self._channel), self.settings.start_timeout)
        except asyncio.TimeoutError as error:
            words = last_lines(self._channel.stderr) or "it said nothing"
            raise HostUnreachable(
                f"no agent answered within {self.settings.start_timeout} s ({words}).", host=self.host
            ) from error

    async def _begin(self, channel: Channel) -> Mapping[str, Any]:
        said = await start_agent(channel, host=self.host, root=self.settings.root, python=self.python)
        self._tasks = [asyncio.create_task(self._listen(channel, said)), asyncio.create_task(self._pulse())]
        return await self._hello()

    async def _hello(self) -> Mapping[str, Any]:
        hello = await self.request("hello", supervisord=self.settings.supervisord)
        if hello["supervisord"]["source"] is None:
            await self.request("provide", **our_supervisor())
            hello = await self.request("hello", supervisord=self.settings.supervisord)
        return hello

    async def _send(self, line: bytes) -> None:
        assert self._channel is not None  # noqa: S101 -- open() came first
        self._idle_seconds = 0
        try:
            await self._channel.write(line)
        except OSError as error:
            await self._break(await self._obituary(str(error) or type(error).__name__), cause=error)
            self._check_open()

    async def _listen(self, channel: Channel, said: bytes) -> None:
        try:
            while True:
                for message in self._conversation.receive(said):
                    self._deliver(message)
                self._say_received()
                said = await channel.read()
                self._silent_seconds = 0
                if not said:
                    raise ConnectionError(await _how_it_ended(channel))
        except ProtocolError as error:
            await self._break(error)
        except OSError as error:
            await self._break(await self._obituary(str(error) or type(error).__name__), cause=error)

    async def _pulse(self) -> None:
        # Counting our own ticks, not reading a clock: when we were frozen, the host was not silent.
        while self._silent_seconds < SILENCE_LIMIT:
            await asyncio.sleep(1)
            self._silent_seconds += 1
            self._idle_seconds += 1
            if self._idle_seconds >= PING_INTERVAL:
                self._idle_seconds = 0
                self._tell("ping")
        await self._break(HostUnreachable(f"it has been silent for {SILENCE_LIMIT} s.", host=self.host))

    def _tell(self, verb: str, /, **params: Any) -> None:
        """Ask without waiting for the answer."""
        _number, line = self._conversation.ask(verb, params)
        in_background(self._send(line))

    def _say_received(self) -> None:
        """The agent keeps little under way to us, so that states need not wait behind lines: let it send more."""
        if self._arrived_bytes >= RECEIPT_BYTES and self._waiting_bytes <= ENOUGH_WAITING and not self.broken:
            arrived, self._arrived_bytes = self._arrived_bytes, 0
            self._tell("received", bytes=arrived)

    def _deliver(self, message: Answer | Refused | Event) -> None:
        if isinstance(message, Event):
            self._post(message)
            return
        answer = self._answers.get(message.id)
        if answer is None or answer.done():
            return  # a ping's, or a request whose asker has left
        if isinstance(message, Refused):
            answer.set_exception(message.error)
        else:
            answer.set_result(message.result)

    def _post(self, event: Event) -> None:
        if event.body["event"] == "log":
            self._arrived_bytes += event.size
        if event.sub in self._left:
            return
        self._waiting_bytes += event.size
        if self._waiting_bytes > MAX_WAITING:
            raise ProtocolError(f"more than {MAX_WAITING} bytes of events wait for their readers.", host=self.host)
        self._mailbox(event.sub).put(event)

    def _mailbox(self, sub: int) -> _Mailbox:
        if sub not in self._mailboxes:
            self._mailboxes[sub] = _Mailbox(ended=self.broken)
        return self._mailboxes[sub]

    async def _obituary(self, why: str) -> HostUnreachable:
        words = last_lines(self._channel.stderr) if self._channel else ""
        return HostUnreachable(f"the connection broke: {why}{f' ({words})' if words else ''}.", host=self.host)

    async def _break(self, end: HostError, *, cause: BaseException | None = None) -> None:
        end.__cause__ = cause
        self._finish(end)
        if self._channel is not None:
            await self._channel.close()

    def _finish(self, end: HostError) -> None:
        if self._end is not None:
            return
        self._end = end
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(_again(end))
        for mailbox in self._mailboxes.values():
            mailbox.put(None)

    def _check_open(self) -> None:
        if self._end is not None:
            raise _again(self._end)


async def _how_it_ended(channel: Channel) -> str:
    """Return words for an agent's end; its last words on standard error have arrived by then."""
    with contextlib.suppress(asyncio.TimeoutError):
        status = await asyncio.wait_for(channel.exit_status(), _EXIT_WAIT)
        if status is not None:
            return f"the agent ended with {status}"
    return "the agent ended"


class _Closed(HostUnreachable):
    """We closed the pipe ourselves."""


class _Mailbox:
    """The events of one watch that wait for their reader; None is the end."""

    def __init__(self, *, ended: bool) -> None:
        self.waiting: deque[Event] = deque()
        self._ended = ended
        self._arrived = asyncio.Event()

    def put(self, event: Event | None) -> None:
        if event is None:
            self._ended = True
        else:
            self.waiting.append(event)
        self._arrived.set()

    async def get(self) -> Event | None:
        while not self.waiting:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self.waiting.popleft()


def _again(end: HostError) -> HostError:
    """Return the same error anew: one object raised for many waiters would collect all their tracebacks."""
    if isinstance(end, ProtocolError):
        again: HostError = ProtocolError(end.message, host=end.host)
    else:
        again = HostUnreachable(end.message, host=end.host)
    again.__cause__ = end.__cause__
    return again
