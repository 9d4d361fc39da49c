"""``tunnel``: a socket here that leads to the supervisord of a host."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from airflow_supervisor_jobs.cli.console import print_json_line, progress, say
from airflow_supervisor_jobs.cli.options import ConfigDir, Exit, Format, Output, overrides_of
from airflow_supervisor_jobs.cli.reach import folder_of, settings_of
from airflow_supervisor_jobs.config import Host, load_host


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Example: supervisor-jobs tunnel trading-1 --socket ./trading-1.sock")(tunnel)


def tunnel(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host's name: that of its file in host/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What to change in the host's file for this once."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--socket", help="Where the socket is to be; by default in a new folder of its own.")
    ] = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Open a socket here that leads to a host's supervisord, for supervisorctl -s, until it is interrupted."""
    declared = load_host(host, overrides_of(overrides), folder_of(config_dir))
    if path is not None:
        return asyncio.run(_serve(declared, path.absolute(), form=output))
    with tempfile.TemporaryDirectory(prefix="supervisor-jobs-") as folder:
        return asyncio.run(_serve(declared, Path(folder) / "supervisord.sock", form=output))


async def _serve(host: Host, path: Path, *, form: Format) -> int:
    from airflow_supervisor_jobs.hosts.tunnel import serve_tunnel

    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    with progress(f"{host.name}: connecting") as tell:
        async with serve_tunnel(settings_of(host), path=path):
            tell(f"{host.name}: the tunnel is open")
            _tell(host, path, form=form)
            await done.wait()
    return Exit.OK


def _tell(host: Host, path: Path, *, form: Format) -> None:
    if form is Format.JSON:
        print_json_line({"host": host.name, "socket": str(path), "server": f"unix://{path}"})
    else:
        say(f"{host.name}: supervisorctl -s unix://{path} status")
        say("Ctrl-C ends the tunnel")
