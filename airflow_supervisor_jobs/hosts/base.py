"""The seam between everything of ours and a host: requests, answers, events.

A :class:`Pipe` leads to one agent on one host. Four exist: local, paramiko, asyncssh
(all of them :class:`~airflow_supervisor_jobs.hosts.stream.StreamPipe` over different bytes)
and the in-memory twin in :mod:`airflow_supervisor_jobs.testing`. All pass one contract suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

from typing_extensions import Self


class Pipe(ABC):
    """A conversation with the agent of one host; verbs and events are those of docs/reference/protocol.md.

    Open it with ``async with``. All methods belong to the event loop that opened it.
    """

    #: How people call the host, for messages.
    host: str

    @abstractmethod
    async def open(self) -> Mapping[str, Any]:
        """Connect, start the agent and return what its ``hello`` answered.

        :raises HostUnreachable: it may work later.
        :raises HostRefused: it will not work until somebody changes something.
        """

    @abstractmethod
    async def request(self, verb: str, /, **params: Any) -> dict[str, Any]:
        """Return the result of ``verb``.

        :raises AgentError: the agent refused, with its code.
        :raises HostUnreachable: the pipe broke or fell silent. Whether the verb took effect is unknown:
            every verb is idempotent, so ask again on a new pipe.
        """

    @abstractmethod
    def events(self, sub: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of the watch ``sub`` in order, from its first, until the pipe is closed.

        :raises HostUnreachable: the pipe broke or fell silent.
        """

    @abstractmethod
    async def close(self) -> None:
        """End the conversation; what runs on the host goes on."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
