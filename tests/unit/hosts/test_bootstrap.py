"""What is sent to a host, and how an agent on this machine is started."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts import bootstrap
from airflow_supervisor_jobs.hosts.bootstrap import MARKER, our_agent, our_supervisor, zip_folder
from airflow_supervisor_jobs.hosts.channel import agent_argv, agent_command, last_lines
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.local import clean_environment
from airflow_supervisor_jobs.hosts.settings import HostSettings


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for name in ("one", "other"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        for file in ("b.py", "a.py", "deep/c.py") if name == "one" else ("deep/c.py", "a.py", "b.py"):
            (folder / file).write_text(f"# {file}")
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / f"{name}.cpython-311.pyc").write_text(name)
        os.utime(folder / "a.py", (len(archives), len(archives)))
        archives.append(zip_folder(folder, top="agent"))
    assert archives[0] == archives[1]
    assert zipfile.ZipFile(io.BytesIO(archives[0])).namelist() == ["agent/a.py", "agent/b.py", "agent/deep/c.py"]


def test_the_agent_is_sent_whole_with_its_loader_and_runner() -> None:
    agent = our_agent()
    names = zipfile.ZipFile(io.BytesIO(agent.archive)).namelist()
    assert {"agent/main.py", "agent/runner.py", "agent/loader.py"} <= set(names)
    assert agent.sha256 == hashlib.sha256(agent.archive).hexdigest()
    assert len(agent.archive) < 100_000


def test_the_supervisor_that_is_sent_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    sent = our_supervisor()
    zipfile.ZipFile(io.BytesIO(base64.b64decode(sent["data"]))).extractall(tmp_path)
    assert not (tmp_path / "supervisor" / "tests").exists()
    shown = subprocess.run(
        [sys.executable, "-S", "-E", "-W", "ignore", "-m", "supervisor.supervisord", "--version"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert shown.stdout.strip() == sent["version"]


@pytest.mark.parametrize(
    ("python", "first"),
    [("python3", "python3"), ("/opt/my python/bin/python", "/opt/my python/bin/python"), ("a;b", "a;b")],
)
def test_the_login_shell_sees_the_words_that_were_meant(python: str, first: str) -> None:
    shown = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\0' {agent_command(python)}"], capture_output=True, check=True, text=True
    )
    assert shown.stdout.split("\0")[:-1] == [first, *agent_argv("")[1:]]


def test_a_home_is_the_shells_to_expand() -> None:
    shown = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\0' {agent_command('~/my python')}"],
        capture_output=True,
        check=True,
        text=True,
        env={"HOME": "/there"},
    )
    assert shown.stdout.split("\0")[0] == "/there/my python"


def test_what_a_host_says_is_safe_to_show() -> None:
    assert last_lines(b"one\ntwo\r\n\x1b[31mthree\xff\n\n", count=2) == "two | ?[31mthree\ufffd"
    assert len(last_lines(b"x" * 100_000)) <= 1000


def test_programs_here_inherit_no_secret_of_the_workers() -> None:
    worker = {"HOME": "/h", "PATH": "/bin", "LC_ALL": "C", "AIRFLOW__CORE__FERNET_KEY": "k", "AIRFLOW_CONN_X": "x"}
    worker |= {"AWS_SECRET_ACCESS_KEY": "s", "_AIRFLOW_TOKEN": "t", "PYTHONPATH": "/p"}
    assert clean_environment(worker) == {"HOME": "/h", "PATH": "/bin", "LC_ALL": "C"}


async def test_a_local_agent_has_a_session_and_an_environment_of_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a secret")
    pipe = open_pipe(HostSettings(root=str(root)))
    async with pipe:
        pid = pipe._channel._process.pid  # type: ignore[union-attr]
        assert os.getsid(pid) == pid
        assert b"a secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert str(root).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_the_last_words_of_an_agent_that_dies_are_quoted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = f"""
import sys
sys.stdin.buffer.readline()
print({(MARKER + b'{"have": true}').decode()!r}, flush=True)
sys.stdin.buffer.readline()
sys.stderr.write("Traceback ...\\nMemoryError: oh dear\\n")
sys.exit(3)
"""
    monkeypatch.setattr(bootstrap, "our_agent", lambda: bootstrap.Agent(dies, b"", "0"))
    with pytest.raises(HostUnreachable, match=r"ended with 3 \(Traceback ... \| MemoryError: oh dear\)"):
        await open_pipe(HostSettings(root=str(root))).open()
