"""Gets an agent running at the other end of a channel, whatever stands in its way.

The agent is our own ``agent`` folder as a zip application, sent once per version and kept on the host by its hash.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.exceptions import HostRefused, HostUnreachable, ProtocolError
from airflow_supervisor_jobs.hosts.channel import Channel, last_lines

MARKER = b"airflow-supervisor-jobs-loader "
#: What login scripts may print before the loader speaks, in bytes.
MAX_NOISE = 64 * 1024
#: The date in every archive: the same files give the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Agent:
    """The agent as it is sent: its loader's source, and its archive."""

    loader: str
    archive: bytes
    sha256: str


@lru_cache(maxsize=1)
def our_agent() -> Agent:
    """Return the agent that belongs to this client."""
    folder = _package_folder("airflow_supervisor_jobs.agent")
    archive = zip_folder(folder, top="agent")
    return Agent((folder / "loader.py").read_text("utf-8"), archive, hashlib.sha256(archive).hexdigest())


@lru_cache(maxsize=1)
def our_supervisor() -> dict[str, str]:
    """Return the parameters of ``provide``: the pure-Python supervisor of our own environment."""
    archive = zip_folder(_package_folder("supervisor"), top="supervisor", without=("tests",))
    return {"version": metadata.version("supervisor"), "data": base64.b64encode(archive).decode()}


def zip_folder(folder: Path, *, top: str, without: tuple[str, ...] = ()) -> bytes:
    """Return ``folder`` as a zip archive under the name ``top``; the same files give the same bytes."""
    skipped = {"__pycache__", *without}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and path.suffix != ".pyc" and skipped.isdisjoint(name.parts):
                entry = zipfile.ZipInfo(f"{top}/{name.as_posix()}", _EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes(), compresslevel=9)
    return buffer.getvalue()


async def start_agent(channel: Channel, *, host: str, root: str, python: str) -> bytes:
    """Return what the running agent has said already; the channel now speaks its protocol.

    :raises HostRefused: there is no usable Python, or no shell, or the root cannot be written.
    :raises HostUnreachable: the channel broke before that was known.
    """
    agent = our_agent()
    header = {"sha256": agent.sha256, "size": len(agent.archive), "root": root}
    with contextlib.suppress(OSError):  # what it wrote before it ended says more
        await channel.write(f"{agent.loader!r}\n{json.dumps(header)}\n".encode())
    reply, said = await _loader_reply(channel, host=host, python=python)
    if "error" in reply:
        raise HostRefused(f"the agent cannot start in {root}: {reply['error']}", host=host)
    if reply.get("have") is not True:
        await channel.write(agent.archive)
    return said


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The package {package} is not installed as files.", name=package)
    return Path(spec.origin).parent


async def _loader_reply(channel: Channel, *, host: str, python: str) -> tuple[dict[str, Any], bytes]:
    said = b""
    while True:
        _noise, marker, rest = said.partition(MARKER)
        line, newline, after = rest.partition(b"\n")
        if marker and newline:
            return _parse_reply(line, host=host), after
        if len(said) > MAX_NOISE:
            raise HostRefused(
                f"it printed more than {MAX_NOISE} bytes before the agent could speak ({last_lines(said)}). "
                "Let its login scripts be silent when there is no terminal.",
                host=host,
            )
        try:
            data = await channel.read()
        except OSError as error:
            raise HostUnreachable(f"the connection broke while the agent started: {error}", host=host) from error
        if not data:
            raise await _why_it_ended(channel, said, host=host, python=python)
        said += data


def _parse_reply(line: bytes, *, host: str) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        raise ProtocolError(f"the loader said something malformed: {last_lines(line[:200])}", host=host)
    return reply


async def _why_it_ended(channel: Channel, said: bytes, *, host: str, python: str) -> HostRefused | HostUnreachable:
    status = await channel.exit_status()
    words = last_lines(channel.stderr) or last_lines(said) or "it said nothing"
    if status is None:
        return HostUnreachable(f"the connection ended while the agent started ({words}).", host=host)
    if status in (126, 127):
        cure = f"Install Python 3.6 or newer there, or set the host's `python` (now {python!r}) to its path."
        return HostRefused(f"there is no {python} that can be run ({words}). {cure}", host=host)
    cure = f"`{python}` must be Python 3.6 or newer (see the host's `python`), and the account needs a shell."
    return HostRefused(f"the agent ended with {status} before it could speak ({words}). {cure}", host=host)
