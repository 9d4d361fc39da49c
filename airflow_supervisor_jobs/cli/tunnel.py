"""``tunnel``: a socket here that leads to the supervisord of a host."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airflow_supervisor_jobs.cli.console import print_json_line, progress, say
from airflow_supervisor_jobs.cli.options import ConfigDir, Exit, Format, Output, Overrides, overrides_of
from airflow_supervisor_jobs.cli.reach import folder_of, pipe_to
from airflow_supervisor_jobs.config import Host, load_host
from airflow_supervisor_jobs.exceptions import ConfigError, HostError

if TYPE_CHECKING:
    from airflow_supervisor_jobs.hosts.base import Pipe

_PIECE_BYTES = 65_536


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog="Example: supervisor-jobs tunnel trading-1 --socket ./trading-1.sock")(tunnel)


def tunnel(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host's name: that of its file in host/.")],
    overrides: Overrides = None,
    path: Annotated[
        Path | None, typer.Option("--socket", help="Where the socket is to be; by default in a new folder of its own.")
    ] = None,
    config_dir: ConfigDir = None,
    output: Output = Format.TABLE,
) -> int:
    """Open a socket here that leads to a host's supervisord, for supervisorctl -s, until it is interrupted."""
    declared = load_host(host, overrides_of(overrides), folder_of(config_dir))
    if path is not None:
        try:
            return asyncio.run(_serve(declared, path.absolute(), form=output))
        finally:
            path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="supervisor-jobs-") as folder:
        return asyncio.run(_serve(declared, Path(folder) / "supervisord.sock", form=output))


async def _serve(host: Host, path: Path, *, form: Format) -> int:
    with progress(f"{host.name}: connecting"):
        pipe = pipe_to(host)
        await pipe.open()
    try:
        relay = Relay(pipe)
        async with await _listen(relay, path):
            _tell(host, path, form=form)
            await relay.until(_interrupted())
    finally:
        await pipe.close()
    return Exit.OK


async def _listen(relay: Relay, path: Path) -> asyncio.Server:
    """Only its owner may use the socket: whoever can is supervisord's master."""
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(relay.carry, str(path))
    except OSError as error:
        raise ConfigError(f"no socket can be made at {path}: {error.strerror}. Give another with --socket") from error
    finally:
        os.umask(mask)


async def _interrupted() -> None:
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    await done.wait()


def _tell(host: Host, path: Path, *, form: Format) -> None:
    if form is Format.JSON:
        print_json_line({"host": host.name, "socket": str(path), "server": f"unix://{path}"})
    else:
        say(f"{host.name}: supervisorctl -s unix://{path} status")
        say("Until Ctrl-C.", style="dim")


class Relay:
    """Carries connections through a pipe to the socket of the host's supervisord."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._numbers = count(1)
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def until(self, end: Coroutine[None, None, None]) -> None:
        """Return when ``end`` does.

        :raises HostError: the pipe broke before.
        """
        ending = asyncio.ensure_future(end)
        await asyncio.wait({ending, self._broken}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if self._broken.done():
            self._broken.result()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until both sides have hung up."""
        number = next(self._numbers)
        try:
            await self._pipe.request("relay", sub=number, data="", eof=False)
            there = asyncio.create_task(self._send(number, reader))
            await self._receive(number, writer)
            there.cancel()
        except HostError as error:
            if not self._broken.done():
                self._broken.set_exception(error)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _send(self, number: int, reader: asyncio.StreamReader) -> None:
        """One piece at a time, each answered: the host's pace is ours."""
        eof = False
        while not eof:
            data = await reader.read(_PIECE_BYTES)
            eof = not data
            await self._pipe.request("relay", sub=number, data=b64encode(data).decode(), eof=eof)

    async def _receive(self, number: int, writer: asyncio.StreamWriter) -> None:
        async for event in self._pipe.events(number):
            writer.write(b64decode(event["data"]))
            await writer.drain()
            if event["eof"]:
                return
