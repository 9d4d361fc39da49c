"""A real Airflow as a context manager: four daemons, SQLite, LocalExecutor, a generated password.

Everything it writes is under one folder, everything it starts ends with the block, and what would
not end is named.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx
from typing_extensions import Self

from tests.services.airflow_api import AirflowApi

DAEMONS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_TIMEOUT = 180.0
#: A scheduler that is told to end waits for the tasks that run.
STOP_TIMEOUT = 60.0
#: Seconds that a daemon waits for another one's write, the API server less long than the others: what it writes
#: inside its event loop may wait for a transaction of its own, which that loop has to end. A scheduler that gave up
#: first would end.
SQLITE_PATIENCE = 60
API_SERVER_PATIENCE = 2


class Airflow:
    """An Airflow of its own, running inside the ``with`` block.

    :param home: its folder; made if missing, emptied by nobody.
    :param dags: the folder of DAG files.
    :param environ: more environment for the daemons; an Airflow that runs around this one is scrubbed.
    :param settings: ``{section: {option: value}}`` on top of what this class chooses.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        environ: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.dags = dags.resolve()
        self.username = "admin"
        self.password = secrets.token_urlsafe(12)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = scrubbed(os.environ) | dict(environ or {}) | {"AIRFLOW_HOME": str(self.home)}
        self._settings = settings or {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.api = AirflowApi(self.url, username=self.username, password=self.password)

    def __enter__(self) -> Self:
        self._write_config()
        self.cli("db", "migrate")
        try:
            for name in DAEMONS:
                self.start(name)
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.stop()
        if left and error is None:
            raise RuntimeError(f"these processes of Airflow had to be killed: {left}")

    def cli(self, *arguments: str) -> str:
        """Return what an ``airflow`` command prints on standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT,
        )
        if done.returncode:
            raise RuntimeError(f"airflow {arguments[0]} exited with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def start(self, name: str, *, label: str | None = None) -> int:
        """One of :data:`DAEMONS` runs in a process group of its own; its pid is returned.

        :param label: what to call a second one of its kind.
        """
        options = {"api-server": ("--workers", "1"), "scheduler": ("--skip-serve-logs",)}
        options["triggerer"] = options["scheduler"]
        patience = API_SERVER_PATIENCE if name == "api-server" else SQLITE_PATIENCE
        label = label or name
        with self.daemon_log(label).open("ab") as log:
            self._daemons[label] = subprocess.Popen(
                [sys.executable, "-m", "airflow", name, *options.get(name, ())],
                env=self.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database(patience)},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._daemons[label].pid

    def database(self, patience: int = SQLITE_PATIENCE) -> str:
        """Return the address of the database for one who waits that many seconds for another's write."""
        return f"sqlite:///{self.home / 'airflow.db'}?timeout={patience}"

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """The daemon's whole process group has been sent the signal and its leader has ended."""
        with suppress(ProcessLookupError):  # it may have ended before
            self.signal(name, number)
        self._daemons.pop(name).wait(STOP_TIMEOUT)

    def signal(self, name: str, number: int) -> None:
        """The daemon's whole process group has been sent the signal."""
        os.killpg(self._daemons[name].pid, number)

    def daemon_log(self, name: str) -> Path:
        """Where the daemon's own output goes."""
        return self.home / f"{name}.out"

    def stop(self) -> list[str]:
        """Nothing of this Airflow runs any more; what had to be killed is returned."""
        self.api.close()
        for daemon in self._daemons.values():
            daemon.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for daemon in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(max(0.1, deadline - time.monotonic()))
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for daemon in self._daemons.values():
            daemon.wait(STOP_TIMEOUT)
        return [f"{pid} {command}" for pid, command in left.items()]

    def processes(self) -> dict[int, str]:
        """Pid and command of everything alive whose environment names our home."""
        return {
            int(entry.name): (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and int(entry.name) != os.getpid() and _lives_in(entry, self.home)
        }

    def wait_for_dags(self, dag_ids: Iterable[str], *, timeout: float = 60) -> None:
        """All of these DAGs are known to the scheduler."""
        wanted = set(dag_ids)
        deadline = time.monotonic() + timeout
        while missing := wanted - self.api.dag_ids():
            if time.monotonic() > deadline:
                raise TimeoutError(f"DAGs {sorted(missing)} did not appear; import errors: {self.api.import_errors()}")
            time.sleep(0.3)

    def _write_config(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        _write_private(passwords, json.dumps({self.username: self.password}))
        parser = configparser.RawConfigParser()
        parser.read_dict(_defaults(self, passwords))
        for section, options in self._settings.items():
            parser.read_dict({section: options})
        config = self.home / "airflow.cfg"
        _write_private(config, "")
        with config.open("w") as file:
            parser.write(file)

    def wait_until_healthy(self) -> None:
        """Every daemon lives, and says so."""
        deadline = time.monotonic() + START_TIMEOUT
        seen: object = "nothing"
        while time.monotonic() < deadline:
            for name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"airflow {name} ended: {self.daemon_log(name).read_text()[-3000:]}")
            try:
                seen = {part: state["status"] for part, state in self.api.health().items()}
                if set(seen.values()) == {"healthy"}:
                    return
            except httpx.HTTPError as error:
                seen = error
            time.sleep(0.3)
        raise TimeoutError(f"Airflow was not healthy after {START_TIMEOUT:.0f} s; last seen: {seen}")


def _defaults(airflow: Airflow, passwords: Path) -> dict[str, dict[str, str]]:
    return {
        "core": {
            "dags_folder": str(airflow.dags),
            "executor": "LocalExecutor",
            "parallelism": "8",
            "max_active_tasks_per_dag": "16",
            "load_examples": "False",
            "dags_are_paused_at_creation": "False",
            "execution_api_server_url": f"{airflow.url}/execution/",
            "fernet_key": "",
            "simple_auth_manager_users": f"{airflow.username}:admin",
            "simple_auth_manager_passwords_file": str(passwords),
        },
        "database": {"sql_alchemy_conn": airflow.database()},
        "api": {
            "base_url": airflow.url,
            "host": "127.0.0.1",
            "port": str(airflow.port),
            "secret_key": secrets.token_hex(16),
        },
        "api_auth": {"jwt_secret": secrets.token_hex(32)},
        "scheduler": {"scheduler_idle_sleep_time": "0.3", "job_heartbeat_sec": "2", "scheduler_heartbeat_sec": "1"},
        "triggerer": {"job_heartbeat_sec": "2"},
        "dag_processor": {
            "refresh_interval": "5",
            "min_file_process_interval": "120",
            "bundle_refresh_check_interval": "1",
        },
        "logging": {"base_log_folder": str(airflow.home / "logs")},
        "usage_data_collection": {"enabled": "False"},
    }


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what would configure Airflow, Python's path or SSH."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "SSH_", "PYTEST_", "PYTHONPATH"))
    }


def _lives_in(process: Path, home: Path) -> bool:
    try:
        variables = (process / "environ").read_bytes().split(b"\0")
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and f"AIRFLOW_HOME={home}".encode() in variables


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
