"""Where the demo plays: an Airflow, an SSH server on loopback, and two hosts' homes, all in one folder."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.airflow import Airflow
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.processes import end_processes_of, processes_of
from tests.services.ssh import SSHAccount
from tests.services.sshd import OpenSSH, find_sshd

TREE = Path(__file__).resolve().parent.parent
FOLDER = TREE / ".demo"
ROOT_NAME = ".airflow-supervisor-jobs"
#: A UNIX socket's path has room for about a hundred characters.
LONGEST_PATH = 100


@dataclass(frozen=True)
class Stage:
    """What the demo plays on."""

    airflow: Airflow
    server: SSHAccount
    home: Path

    @property
    def is_openssh(self) -> bool:
        """Whether the SSH server is OpenSSH's."""
        return isinstance(self.server, OpenSSH)

    @property
    def roots(self) -> dict[str, Path]:
        """The folder that supervisord serves on each of the two hosts."""
        return {"local": self.home / ROOT_NAME, "over SSH": self.server.home / ROOT_NAME}


@contextmanager
def open_stage(connection_id: str) -> Iterator[Stage]:
    """Yield the stage; afterwards nothing of it runs.

    :param connection_id: the Airflow connection that is to lead to the SSH server.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700)
    with ExitStack() as stack:
        hosts = stack.enter_context(_hosts_folder())
        home = hosts / "home"
        home.mkdir()
        server = stack.enter_context(OpenSSH(hosts / "ssh") if find_sshd() else EmbeddedSSH(hosts / "ssh"))
        stack.callback(end_processes_of, hosts)
        environ = {"HOME": str(home), f"AIRFLOW_CONN_{connection_id.upper()}": server.connection()}
        airflow = stack.enter_context(Airflow(FOLDER / "airflow", dags=TREE / "dags", environ=environ))
        yield Stage(airflow, server, home)


def left_over(stage: Stage) -> list[str]:
    """Return what is left of a stage that was closed: processes, and ports that somebody listens on."""
    folder = stage.home.parent
    found = [
        f"process {pid} {command}" for pid, command in {**processes_of(folder), **stage.airflow.processes()}.items()
    ]
    return found + [f"port {port}" for port in (stage.server.port, stage.airflow.port) if _is_open(port)]


@contextmanager
def _hosts_folder() -> Iterator[Path]:
    folder = FOLDER / "hosts"
    if len(str(folder / "ssh" / "home" / ROOT_NAME / "supervisord.sock.123456")) <= LONGEST_PATH:
        folder.mkdir()
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sj-") as short:
        yield Path(short)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
