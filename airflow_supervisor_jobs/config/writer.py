"""A job's part of supervisord's ``programs.conf``: its groups and programs.

Nothing of a user's argv, environment or directory is in it, so nothing of theirs has to be quoted for it.
"""

from __future__ import annotations

from typing import Any

from airflow_supervisor_jobs.config.expansion import escape, expand_for_supervisord
from airflow_supervisor_jobs.config.job import Job, Kind
from airflow_supervisor_jobs.config.program import ProcessOptions
from airflow_supervisor_jobs.config.sections import EventListener, FcgiProgram
from airflow_supervisor_jobs.config.text import can_stand, comment, section

#: Seconds beyond a program's own ``stopwaitsecs`` that supervisord grants the runner to end the tree and record it.
STOP_MARGIN = 30


def write_conf(job: Job) -> str:
    """Return the job's groups and programs as supervisord reads them, in ASCII."""
    sections = {**job.programs, **job.fcgi_programs, **job.event_listeners}
    return "\n".join([*_groups(job), *(_program(job, name, options) for name, options in sections.items())])


def _groups(job: Job) -> list[str]:
    members: dict[str, list[str]] = {}
    for program in job.programs:
        members.setdefault(job.group_of(program), []).append(program)
    return [_group(job, name, programs) for name, programs in members.items()]


def _group(job: Job, name: str, programs: list[str]) -> str:
    declared = job.groups.get(name.removeprefix(f"{job.name}.")) if name != job.name else None
    priority = declared.priority if declared else min(job.programs[program].priority for program in programs)
    names = ",".join(f"{job.name}.{program}" for program in programs)
    return section(f"group:{name}", {"programs": names, "priority": priority})


def _program(job: Job, name: str, options: ProcessOptions) -> str:
    is_supervised = job.kind_of(name) is Kind.PROGRAM
    process = job.process_name(name)
    values = {
        "command": f"%(here)s/bin/runner {'' if is_supervised else 'exec '}{job.name} {process}",
        "process_name": process,
        "numprocs": options.numprocs,
        "numprocs_start": options.numprocs_start,
        "priority": options.priority,
        "autostart": False,
        **(_supervised_by_runner(options) if is_supervised else _supervised_by_supervisord(options)),
        "exitcodes": ",".join(map(str, options.exitcodes)),
        "redirect_stderr": options.redirect_stderr,
        **_log(job, name, options, "stdout"),
        **_log(job, name, options, "stderr"),
        "serverurl": options.serverurl and escape(options.serverurl),
        **_special(options),
    }
    return f"{comment(options.command)}\n{section(f'{_type_of(options)}:{job.name}.{name}', values)}"


def _supervised_by_runner(options: ProcessOptions) -> dict[str, Any]:
    return {
        "autorestart": False,
        "startsecs": 0,
        "stopsignal": "TERM",
        "stopwaitsecs": options.stopwaitsecs + STOP_MARGIN,
    }


def _supervised_by_supervisord(options: ProcessOptions) -> dict[str, Any]:
    names = ("autorestart", "startsecs", "startretries", "stopsignal", "stopwaitsecs", "stopasgroup", "killasgroup")
    return {name: getattr(options, name) for name in names}


def _log(job: Job, name: str, options: ProcessOptions, stream: str) -> dict[str, Any]:
    """Where supervisord finds the output: in the file that the runner writes, unless it gets a copy for itself."""
    by_supervisord = job.kind_of(name) is Kind.EXEC
    wants_copy = getattr(options, f"{stream}_events_enabled") or getattr(options, f"{stream}_syslog")
    path = "NONE" if wants_copy and not by_supervisord else _log_file(job, name, options, stream)
    values = {
        "logfile": path,
        "logfile_maxbytes": getattr(options, f"{stream}_logfile_maxbytes") if by_supervisord else 0,
        "logfile_backups": getattr(options, f"{stream}_logfile_backups") if by_supervisord else None,
        "events_enabled": getattr(options, f"{stream}_events_enabled") or None,
        "syslog": getattr(options, f"{stream}_syslog") or None,
    }
    return {f"{stream}_{key}": value for key, value in values.items()}


def _log_file(job: Job, name: str, options: ProcessOptions, stream: str) -> str:
    path = str(getattr(options, f"{stream}_logfile"))
    if path == "NONE" or (stream == "stderr" and options.redirect_stderr):
        return "NONE"
    if path == "AUTO" or job.kind_of(name) is Kind.PROGRAM:
        # supervisord refuses a whole file for one log in a folder that is not there: the host makes this a link.
        return f"%(here)s/jobs/{job.name}/{job.process_name(name)}/{stream}.log"
    values: dict[str, str | int] = {
        "program_name": name,
        "group_name": job.group_of(name),
        "numprocs": options.numprocs,
    }
    return expand_for_supervisord(path, values) if can_stand(path) else "NONE"


def _type_of(options: ProcessOptions) -> str:
    if isinstance(options, FcgiProgram):
        return "fcgi-program"
    return "eventlistener" if isinstance(options, EventListener) else "program"


def _special(options: ProcessOptions) -> dict[str, Any]:
    if isinstance(options, FcgiProgram):
        mode = None if options.socket_mode is None else f"{options.socket_mode:03o}"
        return {
            "socket": escape(options.socket),
            "socket_backlog": options.socket_backlog,
            "socket_owner": options.socket_owner,
            "socket_mode": mode,
        }
    if isinstance(options, EventListener):
        return {
            "events": ",".join(options.events),
            "buffer_size": options.buffer_size,
            "result_handler": options.result_handler,
        }
    return {}
