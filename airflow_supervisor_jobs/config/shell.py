"""What a command says to a shell, where it goes to none."""

from __future__ import annotations

import re
import shlex

from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.library import Library
from airflow_supervisor_jobs.config.source import Source
from airflow_supervisor_jobs.exceptions import ConfigError

_OPERATOR = re.compile(r"[|&]{1,2}|;|<|[\d&]?>>?(?:&\d|[\w./~]\S*)?")
_VARIABLE = re.compile(r"(?<!\\)\$\{?[A-Za-z_]")
_BUILTIN = re.compile(r"cd|export|source|\.|alias|eval|exec|set|ulimit|umask|unset|[A-Za-z_]\w*=.*")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def shell_warnings(job: Job) -> list[str]:
    """Return a line for each program whose command, a text without ``shell``, has words for a shell in it."""
    found = {}
    for each in job.processes:
        command = each.options.command
        words = [] if each.options.shell or not isinstance(command, str) else shell_words(command)
        if words:
            place = _place(job, each.program, command) or f"{job.name}:{each.program}"
            are = "is a plain word" if len(words) == 1 else "are plain words"
            found[each.program] = f"{place}: command goes to no shell: {', '.join(words)} {are} there. Set shell: true"
    return list(found.values())


def shell_words(command: str) -> list[str]:
    """Return the words of ``command`` that mean something to a shell only; what is quoted is meant as it is."""
    try:
        words = shlex.split(_TEMPLATE.sub("x", command), posix=False)
    except ValueError:
        return []
    found = [word for word in words if _OPERATOR.fullmatch(word) or _has_variable(word)]
    return list(dict.fromkeys([word for word in words[:1] if _BUILTIN.fullmatch(word)] + found))


def _has_variable(word: str) -> bool:
    """Return whether it names a variable; a quoted phrase is a script for somebody else, as that of ``sh -c``."""
    return "'" not in word and not re.search(r"\s", word) and bool(_VARIABLE.search(word))


def _place(job: Job, program: str, command: object) -> str | None:
    """Return where the command stands in the job's file, if it does."""
    try:
        source = Library(None).source(job.source) if job.source else Source("")
    except ConfigError:
        return None
    programs = source.data.get("programs")
    options = programs.get(program) if isinstance(programs, dict) else source.data
    if not isinstance(options, dict) or options.get("command") != command:
        return None
    return source.find(("programs", program, "command") if programs else ("command",))
