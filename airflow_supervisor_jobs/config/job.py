"""A job: what one YAML file declares, complete and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from airflow_supervisor_jobs.config.airflow import AirflowOptions
from airflow_supervisor_jobs.config.base import Model
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.expansion import expand, has_process_num
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.names import Name, check_name, nearest
from airflow_supervisor_jobs.config.program import EventListener, FcgiProgram, Group, ProcessOptions, Program

#: Names in a job's folder on the host that no process can have.
_RESERVED = frozenset({"env", "job.json"})


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

    programs: dict[Name, Program] = Field(default_factory=dict)
    """What runs, by name."""

    groups: dict[Name, Group] = Field(default_factory=dict)
    """Groups of its programs, by name."""

    fcgi_programs: dict[Name, FcgiProgram] = Field(default_factory=dict)
    """FastCGI programs, by name."""

    event_listeners: dict[Name, EventListener] = Field(default_factory=dict)
    """Listeners to supervisord's events, by name."""

    airflow: AirflowOptions = AirflowOptions()
    """How Airflow runs and watches it."""

    dag: DagOptions = Field(default_factory=DagOptions)
    """Keyword arguments of its DAG."""

    source: Annotated[Path | None, Field(exclude_if=lambda path: path is None)] = None
    """The file that declares it."""

    @property
    def processes(self) -> tuple[Process, ...]:
        """All its processes, in the order of their declaration."""
        return tuple(self._each_process())

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

    def _each_process(self) -> Iterator[Process]:
        for program, options in self._sections().items():
            name, group, kind = self.process_name(program), self.group_of(program), self.kind_of(program)
            for number in range(options.numprocs_start, options.numprocs_start + options.numprocs):
                process = expand(name, {"process_num": number})
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
            if name in self.fcgi_programs or name in self.event_listeners:
                raise ValueError(f"group {name!r} has the name of an fcgi program or listener. Rename one of them")
            for program in group.programs:
                if program in self.fcgi_programs or program in self.event_listeners:
                    raise ValueError(f"{program!r} cannot be in group {name!r}: only programs can. Leave it out")
                if program not in self.programs:
                    guess = nearest(program, self.programs)
                    hint = f" Did you mean {guess!r}?" if guess else " Declare it under programs."
                    raise ValueError(f"group {name!r} names {program!r}, which is not a program of this job.{hint}")
                if seen.setdefault(program, name) != name:
                    raise ValueError(f"{program!r} is in the groups {seen[program]!r} and {name!r}. Leave one out")
        return self

    @model_validator(mode="after")
    def _processes_fit(self) -> Job:
        seen: dict[str, str] = {}
        for each in self.processes:
            check_name(each.process)
            if each.process in _RESERVED:
                raise ValueError(f"no process can be called {each.process!r}: the job's folder has a file of that name")
            if each.process in seen:
                raise ValueError(
                    f"{seen[each.process]!r} and {each.program!r} both have a process {each.process!r}. "
                    "Set process_name in one of them"
                )
            seen[each.process] = each.program
        return self

    @model_validator(mode="after")
    def _logs_fit(self) -> Job:
        seen: dict[str, str] = {}
        for each in self.processes:
            for stream in ("stdout", "stderr"):
                path = getattr(each.options, f"{stream}_logfile")
                if path in ("AUTO", "NONE") or (stream == "stderr" and each.options.redirect_stderr):
                    continue
                path, writer = each.expand(path), f"{each.process}'s {stream}"
                if path in seen:
                    raise ValueError(
                        f"{seen[path]} and {writer} would write one file, {path}. Give each its own, with "
                        "%(process_num)d where there are several processes, or use redirect_stderr"
                    )
                seen[path] = writer
        return self

    @model_validator(mode="after")
    def _expansions_fit(self) -> Job:
        for each in self.processes:
            words = (each.options.command,) if isinstance(each.options.command, str) else each.options.command
            values = [value for value in each.options.environment.values() if isinstance(value, str)]
            for text in (*words, *values, each.options.directory or ""):
                each.expand(text)
        return self
