"""One request to a host, asked again until it is answered: what a teardown falls back to during an outage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from typing_extensions import override

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.exceptions import AgentError, HostError, HostUnreachable
from airflow_supervisor_jobs.triggers.reach import triggerer_pipes
from airflow_supervisor_jobs.triggers.settle import settle

FORMAT = 1
FIRST_DELAY = 2.0
LONGEST_DELAY = 60.0


class SupervisorRequestTrigger(BaseTrigger):
    """Fires once, when the host has answered: ``{"result": …}``, or ``{"error": {"code", "message"}}``.

    :param host: the host, as :class:`~airflow_supervisor_jobs.config.Host` dumps itself.
    :param verb: an idempotent verb of the agent's.
    :param params: its parameters; no secret is in them.
    """

    def __init__(self, *, host: Mapping[str, Any], verb: str, params: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.host = dict(host)
        self.verb = verb
        self.params = dict(params)

    @override
    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return f"{__name__}.SupervisorRequestTrigger", {"host": self.host, "verb": self.verb, "params": self.params}

    @override
    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Yield one event, however long the host is out of sight."""
        began = asyncio.get_running_loop().time()
        pipes = triggerer_pipes(Host.model_validate(self.host))
        delay = FIRST_DELAY
        while True:
            try:
                async with pipes() as pipe:
                    answer: dict[str, Any] = {"result": await pipe.request(self.verb, **self.params)}
                break
            except HostUnreachable as error:
                self.log.warning("%s; asking again", error)
            except AgentError as error:
                answer = {"error": {"code": error.code, "message": str(error)}}
                break
            except HostError as error:
                answer = {"error": {"code": "refused", "message": str(error)}}
                break
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 -- so that many do not come at once
            delay = min(2 * delay, LONGEST_DELAY)
        await settle(began)
        yield TriggerEvent({"format": FORMAT, **answer})  # type: ignore[no-untyped-call]
