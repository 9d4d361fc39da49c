"""``validate``, ``schema`` and ``render``: what the files say. Nothing here touches a host, or imports Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from airflow_supervisor_jobs.cli.console import print_json, print_plain, print_rows, say
from airflow_supervisor_jobs.cli.options import (
    ConfigDir,
    Exit,
    Format,
    JobName,
    Output,
    Overrides,
    Target,
    is_override,
)
from airflow_supervisor_jobs.cli.reach import declared_job, folder_of, refuse_empty
from airflow_supervisor_jobs.config import Host, Job, Secret, check_file, json_schema, load_jobs, shell_warnings
from airflow_supervisor_jobs.config.daemon_writer import write_daemon
from airflow_supervisor_jobs.config.writer import write_conf
from airflow_supervisor_jobs.exceptions import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog="Example: supervisor-jobs validate configs/job/market_feed.yaml")(validate)
    app.command(epilog="Example: supervisor-jobs schema > job.schema.json")(schema)
    app.command(epilog="Example: supervisor-jobs render market_feed --target job host=staging")(render)


def validate(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files or folders; by default all jobs there are.")
    ] = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Check files; exit with 2 if one is wrong or there is none. Trailing KEY=VALUE are overrides."""
    words = paths or []
    overrides = [word for word in words if is_override(word)]
    rows = list(_checked([Path(word) for word in words if not is_override(word)], overrides, config_dir))
    wrong = [row for row in rows if row["error"]]
    if output is Format.JSON:
        print_json(rows)
    else:
        print_rows(rows, ("job", "file", "ok"), form=output)
        for row in wrong:
            say(row["error"], style="red")
        for words in (words for row in rows for words in row["warnings"]):
            say(words, style="yellow")
    return Exit.CONFIG if wrong else Exit.OK


def schema() -> int:
    """Print the JSON Schema of a job's file, for editors."""
    print_json(json_schema())
    return Exit.OK


def render(
    job: JobName,
    overrides: Overrides = None,
    target: Annotated[Target, typer.Option(help="What supervisord gets, or the job with all that it draws from.")] = (
        Target.SUPERVISORD
    ),
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what a job's file comes to. Secrets are references and stay references."""
    declared = declared_job(job, config_dir=config_dir, overrides=overrides)
    data = _job_data(declared) if target is Target.JOB else _supervisord_data(declared)
    if output is Format.JSON:
        print_json(data)
    elif target is Target.JOB:
        print_plain(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        print_plain("\n".join(f"; {name}\n{text}" for name, text in data.items() if text))
    return Exit.OK


def _checked(paths: Sequence[Path], overrides: Sequence[str], config_dir: Path | None) -> Iterator[dict[str, Any]]:
    folders = [path for path in paths if path.is_dir()] if paths else [folder_of(config_dir)]
    for folder in folders:
        errors: list[ConfigError] = []
        jobs = load_jobs(folder.absolute(), overrides=overrides, errors=errors)
        if not jobs and not errors:
            refuse_empty(folder)
        yield from (_row(job) for job in jobs.values())
        yield from (_broken(error, folder.absolute()) for error in errors)
    for path in paths:
        if not path.is_dir():
            yield _check_file(path, overrides, config_dir)


def _broken(error: ConfigError, folder: Path) -> dict[str, Any]:
    files = (folder / "job" / f"{error.job}{suffix}" for suffix in (".yaml", ".yml"))
    file = next((str(file) for file in files if file.is_file()), None)
    return {"job": error.job, "file": file, "ok": "no", "error": str(error), "warnings": []}


def _check_file(path: Path, overrides: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    try:
        found = check_file(path, overrides, None if config_dir is None else folder_of(config_dir))
        return _row(found) if isinstance(found, Job) else _fine(path)
    except (ConfigError, OSError) as error:
        return {"job": path.stem, "file": str(path), "ok": "no", "error": str(error), "warnings": []}


def _fine(path: Path) -> dict[str, Any]:
    return {"job": path.stem, "file": str(path), "ok": "yes", "error": None, "warnings": []}


def _row(job: Job) -> dict[str, Any]:
    """A file may be well-formed and yet say what supervisord's own file cannot carry."""
    error = None
    try:
        write_conf(job)
        _daemon(job.host)
    except ConfigError as caught:
        error = str(caught)
    told = {"ok": "no" if error else "yes", "error": error, "warnings": shell_warnings(job)}
    return {"job": job.name, "file": str(job.source), **told}


def _job_data(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude_defaults=True, exclude={"source"})


def _supervisord_data(job: Job) -> Mapping[str, str | None]:
    return {"programs.conf": write_conf(job), "supervisord.conf": _daemon(job.host)}


def _daemon(host: Host) -> str | None:
    """The password of a listener is nobody's business here, and it may not even be on this machine."""
    listener = host.inet_http_server
    if listener is not None:
        masked = listener.model_copy(update={"password": Secret(env="MASKED")})
        host = host.model_copy(update={"inet_http_server": masked})
    return write_daemon(host, {"MASKED": "***"})
