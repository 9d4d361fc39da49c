"""``orphans``: what runs on the hosts and nobody answers for any more, shown or ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_supervisor_jobs.cli.airflow_database import AirflowDatabase, AirflowNotAsked
from airflow_supervisor_jobs.cli.console import print_error, print_rows, progress, say
from airflow_supervisor_jobs.cli.options import ConfigDir, Exit, Format, Output, Overrides, overrides_of, who
from airflow_supervisor_jobs.cli.reach import folder_of, refuse_empty, settings_of
from airflow_supervisor_jobs.config import Host, load_host, load_jobs
from airflow_supervisor_jobs.core.orphans import CONFIRM_S, RETRIES, RETRY_DELAY_S, hosts_of, is_templated
from airflow_supervisor_jobs.exceptions import ConfigError, HostError, SupervisorJobsError
from airflow_supervisor_jobs.hosts.sweep import Sweeping, Swept, sweep_patiently

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.address import HostSettings

_COLUMNS = ("host", "job", "process", "pid", "generation", "action", "reason", "command")


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Example: supervisor-jobs orphans --stop --host trading-1")(orphans)


def orphans(
    overrides: Overrides = None,
    stop: Annotated[bool, typer.Option("--stop", help="End what is found: TERM, then KILL.")] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="HOST", help="Only this host; may be given again. By default those of all jobs."
        ),
    ] = None,
    confirm_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="With --stop, a job has to be an orphan for so long.")
    ] = CONFIRM_S,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a host that is out of reach is asked again.")
    ] = RETRIES,
    retry_delay: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait before that.")
    ] = RETRY_DELAY_S,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what runs on the hosts for a run of this Airflow that is over, or for nobody; exit with 4 if it stays."""
    errors: list[SupervisorJobsError] = []
    hosts = _hosts(host or [], overrides_of(overrides), folder_of(config_dir), errors)
    try:
        airflow = AirflowDatabase()
    except AirflowNotAsked as error:
        airflow, unasked = None, str(error)
    by = f"{who()}: supervisor-jobs orphans"
    sweeps = [Sweeping(each, airflow, stop=stop, by=by, confirm_s=confirm_after if stop else 0) for each in hosts]
    with progress("asking the hosts"):
        answers = asyncio.run(_sweep_all(sweeps, retries=retries, retry_delay_s=retry_delay))
    swept = [answer for answer in answers if isinstance(answer, Swept)]
    print_rows([row for each in swept for row in each.findings], _COLUMNS, form=output)
    empty = [
        each.name
        for each, answer in zip(hosts, answers, strict=True)
        if isinstance(answer, Swept) and not answer.findings
    ]
    if empty and output is Format.TABLE:
        say(f"Nothing was found on {', '.join(dict.fromkeys(empty))}")
    errors += [answer for answer in answers if isinstance(answer, SupervisorJobsError)]
    for wrong in errors:
        print_error(wrong, form=output)
    unjudged = [job for each in swept for job in each.unjudged]
    if airflow is None:
        say(f"only processes without a runner were looked for: which runs are over is not known, {unasked}")
    if unjudged:
        say(f"these run for an Airflow that was not asked: {', '.join(unjudged)}", style="yellow")
    return _exit(swept, errors, unjudged)


def _exit(swept: Sequence[Swept], errors: Sequence[SupervisorJobsError], unjudged: Sequence[str]) -> int:
    if any(each.left for each in swept):
        return Exit.ORPHANS
    if errors:
        return max(error.exit_status for error in errors)
    return Exit.FAILED if unjudged else Exit.OK


def _hosts(names: Sequence[str], words: list[str], folder: Path, errors: list[SupervisorJobsError]) -> list[Host]:
    broken: list[ConfigError] = []
    jobs = load_jobs(folder, overrides=words, errors=broken)
    if not jobs and not broken and not names:
        refuse_empty(folder)
    errors += broken
    found = hosts_of(jobs.values())
    for name in names:
        if name not in {host.name for host in found}:
            found.append(load_host(name, config_dir=folder))
    return [host for host in found if not names or host.name in names]


async def _sweep_all(sweeps: Sequence[Sweeping], **patience: Any) -> list[Swept | SupervisorJobsError]:
    return await asyncio.gather(*(_sweep(each, **patience) for each in sweeps))


async def _sweep(how: Sweeping, **patience: Any) -> Swept | SupervisorJobsError:
    from airflow_supervisor_jobs.hosts.connect import open_pipe

    if is_templated(how.host):
        return ConfigError("where it is, is a template, which only a run of Airflow can fill in", host=how.host.name)
    try:
        settings = _settings(how)
        return await sweep_patiently(lambda: open_pipe(settings), how, **patience)
    except HostError as error:
        return error


def _settings(how: Sweeping) -> HostSettings:
    """Return how to reach the host; where Airflow can be asked, its connections are known, too."""
    from airflow_supervisor_jobs.hosts.settings import resolve

    if how.host.ssh_conn_id and isinstance(how.airflow, AirflowDatabase):
        return resolve(how.host, how.airflow.connection(how.host.ssh_conn_id))
    return settings_of(how.host)
