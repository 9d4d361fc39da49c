"""Fixtures that every kind of test may use."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.processes import end_processes_of
from tests.services.sshd import OpenSSH, find_sshd

# Airflow reads the user's own settings, and writes to its home, when it is first imported.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "_AIRFLOW"))]:
    del os.environ[_name]
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has its parent's, and ends without ceremony
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    os.environ["SUPERVISOR_JOBS_CACHE"] = os.environ["AIRFLOW_HOME"] + "/compositions"  # the user's own stays as it is
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# A shell ignores it for what it runs in the background, and every program that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

NO_OPENSSH = "OpenSSH's sshd is not installed (Debian: apt-get install openssh-server)"


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups: else each of its workers has an Airflow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs OpenSSH where there is none (in CI that is a failure), and keep one real Airflow for all."""
    for item in items:
        if item.get_closest_marker("airflow"):
            item.add_marker(pytest.mark.xdist_group("airflow"))
    if find_sshd() is None and not os.environ.get("CI"):
        for item in items:
            if item.get_closest_marker("openssh"):
                item.add_marker(pytest.mark.skip(reason=NO_OPENSSH))


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the user's own Airflow or SSH reach a test."""
    for name in list(os.environ):
        if name.startswith(("AIRFLOW_CONN_", "SSH_")):
            monkeypatch.delenv(name)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Yield a folder whose name leaves room for a socket's path, of which the system allows 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="sj", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def root(short_folder: Path) -> Iterator[Path]:
    """Yield a root for a supervisord of the test's own, and end everything in it; what only KILL ends is a failure."""
    folder = short_folder / "r"
    yield folder
    if survivors := end_processes_of(folder):
        pytest.fail(f"These processes of {folder} outlived their supervisord: {survivors}")


@pytest.fixture
def openssh(short_folder: Path) -> Iterator[OpenSSH]:
    """Yield a running OpenSSH server; mark the test ``openssh``."""
    with OpenSSH(short_folder / "s") as server:
        yield server


@pytest.fixture
def embedded_ssh(short_folder: Path) -> Iterator[EmbeddedSSH]:
    """Yield a running SSH server of asyncssh's."""
    with EmbeddedSSH(short_folder / "e") as server:
        yield server
