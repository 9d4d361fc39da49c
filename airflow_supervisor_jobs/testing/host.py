"""A host in memory: the agent's verbs over scripted processes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_supervisor_jobs.exceptions import AgentError, HostError
from airflow_supervisor_jobs.testing.process import SIGTERM, MemoryProcess, Script

if TYPE_CHECKING:
    from airflow_supervisor_jobs.testing.pipe import MemoryChannel

Owner = dict[str, str] | None


class MemoryJob:
    """An installed job."""

    def __init__(self, spec: dict[str, Any], owner: Owner, at: float) -> None:
        self.spec = spec
        self.owner = owner
        self.installed_at = at
        self.released = False
        self.processes: dict[str, MemoryProcess] = {}

    def chosen(self, programs: list[str] | None) -> list[MemoryProcess]:
        """Return the processes of the named programs, or all."""
        known = {process.spec["program"] for process in self.processes.values()}
        if unknown := sorted(set(programs or ()) - known):
            raise AgentError("it has no such program", code="bad_request", job=self.spec["job"], program=unknown[0])
        return [one for one in self.processes.values() if programs is None or one.spec["program"] in programs]

    def status(self, programs: list[str] | None = None) -> dict[str, Any]:
        """Return the job status of docs/reference/protocol.md."""
        return {
            "job": self.spec["job"],
            "owner": self.owner,
            "hash": self.spec["hash"],
            "installed_at": self.installed_at,
            "released": self.released,
            "outlives": bool(self.spec.get("outlives")),
            "processes": [process.status() for process in self.chosen(programs)],
        }


class MemoryHost:
    """What all :class:`~airflow_supervisor_jobs.testing.MemoryPipe` of a host lead to.

    Its processes do what ``scripts`` say, by name; the others write nothing and exit with 0::

        host = MemoryHost(scripts={"feed": Script(lines=("hello",), exit_code=3)})
        async with MemoryPipe(host) as pipe:
            ...

    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        scripts: Mapping[str, Script] | None = None,
        clock: Callable[[], float] = time.time,
        name: str = "memory",
    ) -> None:
        self.name = name
        self.scripts = dict(scripts or {})
        self.clock = clock
        #: Raised by every attempt to reach the host, while set.
        self.trouble: HostError | None = None
        #: While set, the host hears and says nothing, as one whose network swallows everything.
        self.silent = False
        #: How many pipes were opened so far.
        self.opened = 0
        self.jobs: dict[str, MemoryJob] = {}
        #: What is left of jobs that were removed without ``purge``.
        self.kept: dict[str, dict[str, MemoryProcess]] = {}
        #: Processes that no runner answers for, as ``strays`` tells of them.
        self.strays: list[dict[str, Any]] = []
        self.channels: set[MemoryChannel] = set()
        self._supervisord_pid: int | None = None
        self._pids = 100

    # For tests

    def process(self, job: str, process: str) -> MemoryProcess:
        """Return a process of an installed job."""
        return self.jobs[job].processes[process]

    def write(self, job: str, process: str, data: bytes | str, *, stream: str = "stdout") -> None:
        """Have a process write ``data``."""
        self.process(job, process).write(data, stream=stream, time=self.clock())

    def end(self, job: str, process: str, *, exit_code: int = 0, signal: int | None = None) -> None:
        """Have a process end."""
        self.process(job, process).end(exit_code=exit_code, signal=signal, time=self.clock())

    def cut(self) -> None:
        """Break every pipe; the processes go on."""
        for channel in list(self.channels):
            channel.cut()

    # Verbs: docs/reference/protocol.md says what each takes and gives

    def answer(self, verb: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a verb that needs no watch.

        :raises AgentError: it is refused.
        """
        method = getattr(self, f"_verb_{verb}", None)
        if method is None:
            raise AgentError(f"there is no verb {verb!r}", code="bad_request")
        try:
            result: dict[str, Any] = method(**params)
        except (KeyError, TypeError, ValueError) as error:
            raise AgentError(f"{type(error).__name__}: {error}", code="bad_request", job=params.get("job")) from error
        return result

    def job(self, name: str) -> MemoryJob:
        """Return an installed job.

        :raises AgentError: it is not installed.
        """
        if name not in self.jobs:
            raise AgentError("it is not installed here: install it first", code="not_installed", job=name)
        return self.jobs[name]

    def _verb_hello(self, *, supervisord: str | None) -> dict[str, Any]:
        return {
            "sha256": hashlib.sha256(b"memory").hexdigest(),
            "python": "3.12.0",
            "hostname": self.name,
            "machine_id": "memory",
            "boot_id": "memory",
            "user": "user",
            "uid": 1000,
            "root": "/memory",
            "socket": "/memory/supervisord.sock",
            "supervisord": {"source": "path", "command": [supervisord or "supervisord"], "pid": self._supervisord_pid},
        }

    def _verb_ping(self) -> dict[str, Any]:
        return {"now": self.clock()}

    def _verb_received(self, **arrived: int) -> dict[str, Any]:
        """All that is under way is in memory: there is no link to be spared."""
        del arrived
        return {}

    def _verb_install(self, *, spec: dict[str, Any], owner: Owner, if_running: str) -> dict[str, Any]:
        old = self.jobs.get(spec["job"])
        if old is not None:
            self._refuse_if_busy(old, owner, if_running)
        job = MemoryJob(spec, owner, self.clock())
        if old is not None and any(process.is_running for process in old.processes.values()):
            job.owner = old.owner
        for process in spec["processes"]:
            name = process["process"]
            kept = (old.processes if old else self.kept.get(spec["job"], {})).get(name)
            job.processes[name] = kept or self._new_process(spec["job"], process)
        self.jobs[spec["job"]] = job
        self.kept.pop(spec["job"], None)
        return {"changed": old is None or old.spec["hash"] != spec["hash"], "hash": spec["hash"]}

    def _verb_start_supervisord(self, *, job: str) -> dict[str, Any]:
        self.job(job)
        started = self._supervisord_pid is None
        if started:
            self._pids += 1
            self._supervisord_pid = self._pids
        return {"pid": self._supervisord_pid, "started": started}

    def _verb_stop_supervisord(self, *, job: str, owner: Owner) -> dict[str, Any]:
        if job in self.jobs:
            self._refuse_stranger(self.jobs[job], owner)
            self.jobs[job].released = True
        held_by = [name for name, one in self.jobs.items() if not one.released]
        stopped = not held_by and self._supervisord_pid is not None
        if not held_by:
            self._supervisord_pid = None
        return {"stopped": stopped, "held_by": held_by}

    def _verb_start(
        self, *, job: str, owner: Owner, programs: list[str] | None, if_running: str, by: str = "", again: bool = False
    ) -> dict[str, Any]:
        found = self.job(job)
        chosen = found.chosen(programs)
        if self._supervisord_pid is None:
            raise AgentError("supervisord does not answer: start it first", code="supervisord", job=job)
        self._refuse_if_busy(found, owner, if_running)
        theirs = found.owner not in (None, owner)
        if again or (theirs and if_running == "restart"):
            for process in chosen:
                self._stop(process, owner=None, by=by, reason="restart")
        found.owner, found.released = owner, False
        self._tell(job)
        actions = {process.name: self._start(process, owner, anew=again or theirs) for process in chosen}
        return {"processes": [{**one.status(), "action": actions[one.name]} for one in chosen]}

    def _verb_restart(self, **params: Any) -> dict[str, Any]:
        return self._verb_start(**params, again=True)

    def _verb_stop(self, *, job: str, owner: Owner, programs: list[str] | None, by: str, reason: str) -> dict[str, Any]:
        if job not in self.jobs:
            return {"processes": []}
        self._refuse_stranger(self.jobs[job], owner)
        stopped = []
        for process in self.jobs[job].chosen(programs):
            action = "stopped" if self._stop(process, owner=owner, by=by, reason=reason) else "not_running"
            stopped.append({**process.status(), "action": action, "ended": [], "survivors": []})
        return {"processes": stopped}

    def _verb_remove(self, *, job: str, owner: Owner, purge: bool) -> dict[str, Any]:
        if purge:
            self.kept.pop(job, None)
        if job not in self.jobs:
            return {"removed": False}
        self._refuse_stranger(self.jobs[job], owner)
        for process in self.jobs[job].processes.values():
            if process.is_running:
                raise AgentError("it still runs: stop it first", code="running", job=job, program=process.name)
        removed = self.jobs.pop(job)
        if not purge:
            self.kept[job] = removed.processes
        self._tell(job)
        return {"removed": True}

    def _verb_status(self, *, job: str | None) -> dict[str, Any]:
        jobs = [self.job(job)] if job else list(self.jobs.values())
        state = "RUNNING" if self._supervisord_pid else None
        return {
            "supervisord": {"pid": self._supervisord_pid, "state": state},
            "jobs": [one.status() for one in jobs],
        }

    def _verb_strays(self, *, end: bool, grace: float) -> dict[str, Any]:
        del grace
        strays = list(self.strays)
        if end:
            self.strays.clear()
        return {"strays": strays, "ended": [one["pid"] for one in strays] if end else [], "survivors": []}

    def _verb_logs(
        self,
        *,
        job: str,
        process: str,
        stream: str,
        position: int | None = None,
        tail: int | None = None,
        since: float | None = None,
        generation: int | None = None,
        limit: int = 262144,
    ) -> dict[str, Any]:
        processes = self.kept.get(job) or self.job(job).processes
        log = processes[process].logs[stream]
        first, end = log.of(generation) if generation is not None else (0, log.end)
        if position is None:
            position = log.last(tail) if tail is not None else log.since(since) if since is not None else first
        chunks = log.read(position, min(limit, 262144, max(0, end - position)))
        reached = position + sum(len(chunk["data"]) // 4 * 3 - chunk["data"].count("=") for chunk in chunks)
        return {"chunks": chunks, "next": reached, "end": end, "lost": 0}

    def _verb_ack(
        self, *, job: str, consumer: str, positions: dict[str, dict[str, int]], reported: dict[str, int]
    ) -> dict[str, Any]:
        processes = self.job(job).processes
        for name in {*positions, *reported}:
            processes[name].acknowledge(consumer, positions.get(name, {}), reported.get(name, 0))
        return {}

    # Underneath

    def _new_process(self, job: str, spec: dict[str, Any]) -> MemoryProcess:
        return MemoryProcess(job, spec, self.scripts.get(spec["process"], Script()), lambda: self._tell(job))

    def _tell(self, job: str) -> None:
        for channel in list(self.channels):
            channel.tell(job)

    def _start(self, process: MemoryProcess, owner: Owner, *, anew: bool) -> str:
        if process.is_running:
            return "adopted"
        ended = not anew and process.phase == "ended" and process.owner == owner
        # Who ordered an end knows of it.
        if ended and not process.is_reported and process.stopped_for != owner:
            return "ended"
        process.start(owner=owner, time=self.clock())
        generation = process.generation
        asyncio.get_running_loop().call_soon(lambda: process.perform(generation, time=self.clock()))
        return "started"

    def _stop(self, process: MemoryProcess, *, owner: Owner, by: str, reason: str) -> bool:
        if not process.is_running:
            return False
        stop = {"by": by, "reason": reason, "owner": owner, "at": self.clock()}
        process.end(exit_code=None, signal=SIGTERM, stop=stop, time=self.clock())
        return True

    def _refuse_if_busy(self, job: MemoryJob, owner: Owner, if_running: str) -> None:
        if job.owner == owner or if_running != "fail":
            return
        for process in job.processes.values():
            if process.is_running:
                words = f"it runs for another owner ({job.owner}), and if_running is fail"
                raise AgentError(words, code="busy", job=job.spec["job"], program=process.name)

    def _refuse_stranger(self, job: MemoryJob, owner: Owner) -> None:
        if owner is not None and job.owner not in (None, owner):
            raise AgentError(f"it belongs to {job.owner} now", code="not_owner", job=job.spec["job"])
