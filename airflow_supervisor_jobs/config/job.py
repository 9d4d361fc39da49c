"""A job: what one YAML file declares, complete and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from supervisor.events import EventTypes

from airflow_supervisor_jobs.config.airflow import AirflowOptions
from airflow_supervisor_jobs.config.base import MisfitError, Model
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.expansion import expand, has_process_num
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.names import Name, ProgramName, check_name, nearest
from airflow_supervisor_jobs.config.program import ProcessOptions, Program
from airflow_supervisor_jobs.config.sections import EventListener, FcgiProgram, Group

#: Names in a job's folder on the host that no process can have.
_RESERVED = frozenset({"config", "job.json", "lease"})


class Kind(Enum):
    """Whether the runner supervises a process, or only sets up and executes it."""

    PROGRAM = "program"
    EXEC = "exec"


@dataclass(frozen=True)
class Process:
    """One process of a job.

    :param process: its name, unique in the job.
    :param program: the program that it belongs to.
    :param group: its group; ``group:process`` is what supervisorctl calls it.
    :param kind: who supervises it.
    :param number: its ``process_num``.
    :param options: the program.
    """

    process: str
    program: str
    group: str
    kind: Kind
    number: int
    options: ProcessOptions

    def expand(self, text: str) -> str:
        """Return ``text`` with supervisord's expansions replaced by what they are for this process."""
        return expand(text, self.values)

    @property
    def values(self) -> dict[str, str | int]:
        """What supervisord's expansions stand for."""
        return {
            "program_name": self.program,
            "group_name": self.group,
            "process_num": self.number,
            "numprocs": self.options.numprocs,
        }


class Job(Model):
    """One or more programs, where they run, and the policies about them."""

    name: Name
    """The job's name; by default that of its file."""

    host: Host = Host()
    """Where it runs."""

    programs: dict[ProgramName, Program] = Field(default_factory=dict)
    """What runs, by name."""

    groups: dict[ProgramName, Group] = Field(default_factory=dict)
    """Groups of its programs, by name."""

    fcgi_programs: dict[ProgramName, FcgiProgram] = Field(default_factory=dict)
    """FastCGI programs, by name."""

    event_listeners: dict[ProgramName, EventListener] = Field(default_factory=dict)
    """Listeners to supervisord's events, by name."""

    airflow: AirflowOptions = AirflowOptions()
    """How Airflow runs and watches it."""

    dag: DagOptions = Field(default_factory=DagOptions)
    """Keyword arguments of its DAG."""

    source: Annotated[Path | None, Field(exclude_if=lambda path: path is None)] = None
    """The file that declares it."""

    @property
    def dag_id(self) -> str:
        """The id of its DAG."""
        return self.dag.get("dag_id", self.name)

    @property
    def processes(self) -> tuple[Process, ...]:
        """All its processes, in the order of their declaration."""
        return tuple(each for program in self._sections() for each in self._each_process(program))

    def process_name(self, program: str) -> str:
        """Return the name of the program's processes; what is left of supervisord's expansions is the number."""
        options = self._sections()[program]
        values: dict[str, str | int] = {
            "program_name": program,
            "group_name": self.group_of(program),
            "numprocs": options.numprocs,
        }
        name = expand(options.process_name or program, values)
        return name if options.numprocs == 1 or has_process_num(name) else f"{name}_%(process_num)02d"

    def group_of(self, program: str) -> str:
        """Return the group that the program is in, as supervisorctl calls it."""
        if program not in self.programs:
            return f"{self.name}.{program}"
        for name, group in self.groups.items():
            if program in group.programs:
                return f"{self.name}.{name}"
        return self.name

    def kind_of(self, program: str) -> Kind:
        """Return who supervises the program."""
        return Kind.PROGRAM if program in self.programs else Kind.EXEC

    def _sections(self) -> dict[str, ProcessOptions]:
        return {**self.programs, **self.fcgi_programs, **self.event_listeners}

    def _each_process(self, program: str) -> Iterator[Process]:
        options, kind, group = self._sections()[program], self.kind_of(program), self.group_of(program)
        name = self.process_name(program)
        for number in range(options.numprocs_start, options.numprocs_start + options.numprocs):
            process = check_name(expand(name, {"process_num": number}))
            yield Process(process, program, group, kind, number, options)

    @model_validator(mode="after")
    def _has_programs(self) -> Job:
        count = len(self.programs) + len(self.fcgi_programs) + len(self.event_listeners)
        if not count:
            raise ValueError("there is nothing to run. Add command (for one program) or programs")
        if len(self._sections()) < count:
            raise ValueError("programs, fcgi_programs and event_listeners share their names. Rename one of them")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> Job:
        seen: dict[str, str] = {}
        for name, group in self.groups.items():
            keys = ("groups", name, "programs")
            if name in self.fcgi_programs or name in self.event_listeners:
                raise MisfitError("is also the name of an fcgi program or listener. Rename one of them", "groups", name)
            for program in group.programs:
                if program in self.fcgi_programs or program in self.event_listeners:
                    raise MisfitError(
                        f"{program!r} is not under programs, and only those have groups. Leave it out", *keys
                    )
                if program not in self.programs:
                    guess = nearest(program, self.programs)
                    hint = f"Did you mean {guess!r}?" if guess else "Declare it under programs."
                    raise MisfitError(f"{program!r} is not a program of this job. {hint}", *keys)
                if seen.setdefault(program, name) != name:
                    raise MisfitError(f"{program!r} is in group {seen[program]!r} too. Leave one out", *keys)
        return self

    @model_validator(mode="after")
    def _processes_fit(self) -> Job:
        seen: dict[str, str] = {}
        for program in self._sections():
            try:
                processes = list(self._each_process(program))
            except ValueError as error:
                raise MisfitError(str(error), *self._keys(program), "process_name") from error
            for each in processes:
                self._check_process(each, seen.setdefault(each.process, program))
        return self

    def _check_process(self, each: Process, owner: str) -> None:
        keys = (*self._keys(each.program), "process_name")
        if each.process in _RESERVED:
            raise MisfitError(
                f"no process can be called {each.process!r}: the job's folder has a file of that name", *keys
            )
        if owner != each.program:
            raise MisfitError(f"{owner!r} has a process {each.process!r} too. Set process_name in one of them", *keys)

    @model_validator(mode="after")
    def _logs_fit(self) -> Job:
        seen: dict[str, str] = {}
        for each in self.processes:
            for stream in ("stdout", "stderr"):
                path = getattr(each.options, f"{stream}_logfile")
                if path in ("AUTO", "NONE") or (stream == "stderr" and each.options.redirect_stderr):
                    continue
                keys = (*self._keys(each.program), f"{stream}_logfile")
                writer = f"{each.process}'s {stream}"
                first = seen.setdefault(_expanded(each, path, keys), writer)
                if first != writer:
                    raise MisfitError(
                        f"{first} and {writer} would write one file. Give each its own (%(process_num)d tells the "
                        "processes of a program apart), or use redirect_stderr",
                        *keys,
                    )
        return self

    @model_validator(mode="after")
    def _expansions_fit(self) -> Job:
        for each in self.processes:
            options, keys = each.options, self._keys(each.program)
            for word in (options.command,) if isinstance(options.command, str) else options.command:
                _expanded(each, word, (*keys, "command"))
            for name, value in options.environment.items():
                _expanded(each, value if isinstance(value, str) else "", (*keys, "environment", name))
            _expanded(each, options.directory or "", (*keys, "directory"))
        return self

    @model_validator(mode="after")
    def _events_exist(self) -> Job:
        """A plug-in of supervisord may have events of its own."""
        known = [name for name in vars(EventTypes) if name.isupper()]
        for program, listener in self.event_listeners.items():
            for event in listener.events:
                if event not in known and not self.host.rpc_interfaces:
                    guess = nearest(event, known)
                    hint = f"Did you mean {guess!r}?" if guess else "Its documentation lists them under Events"
                    raise MisfitError(
                        f"supervisord has no event {event!r}. {hint}", "event_listeners", program, "events"
                    )
        return self

    def _keys(self, program: str) -> tuple[str, str]:
        sections = ("programs", "fcgi_programs", "event_listeners")
        return next(name for name in sections if program in getattr(self, name)), program


def _expanded(process: Process, text: str, keys: tuple[str, ...]) -> str:
    try:
        return process.expand(text)
    except ValueError as error:
        raise MisfitError(str(error), *keys) from error
