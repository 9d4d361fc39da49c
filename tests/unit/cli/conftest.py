"""The command line in a folder of its own, with hosts that end with the test."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_supervisor_jobs.cli.main import run

COMMAND = [sys.executable, "-c", "from airflow_supervisor_jobs.cli.main import main; main()"]


class Commands:
    """Runs commands in ``folder`` and keeps what the last one printed."""

    def __init__(self, folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.root = root
        self.stdout = ""
        self.stderr = ""
        self._capsys = capsys
        self._started: list[subprocess.Popen[str]] = []

    def declare(self, kind: str, name: str, **content: Any) -> Path:
        """Write a file of the configuration and return its path."""
        path = self.folder / "configs" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return path

    def run(self, *words: str) -> int:
        """Run a command here and return what it exits with."""
        self._capsys.readouterr()
        status = run(words)
        self.stdout, self.stderr = self._capsys.readouterr()
        sys.stdout.write(f"$ {' '.join(words)}\n{self.stdout}{self.stderr}")  # pytest shows it when the test fails
        return status

    def json(self, *words: str) -> Any:
        """Run a command that goes well and return its JSON."""
        status = self.run(*words, "-o", "json")
        assert status == 0, self.stderr
        return json.loads(self.stdout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        started = subprocess.Popen(
            [*COMMAND, *words], cwd=self.folder, env=environ, text=True, stdout=pipe, stderr=pipe
        )
        self._started.append(started)
        return started

    def end(self) -> None:
        """End every command that still runs."""
        for started in self._started:
            with started:
                started.kill()

    def gate(self, name: str = "gate") -> Gate:
        """Return what a job can wait at."""
        return Gate(self.folder / name)


class Gate:
    """A named pipe: a program that reads it waits until the test says what it is to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @property
    def command(self) -> list[str]:
        """A program that says it is there, waits, and exits with what it reads."""
        return ["sh", "-c", f"echo ready; read code < {self.path}; echo $code; exit $code"]

    def open(self, text: str) -> None:
        """Let one program through."""
        self.path.write_text(f"{text}\n")


def read_until(stream: Any, wanted: str, *, seconds: float = 60) -> str:
    """Return what a command has printed up to and with ``wanted``."""
    seen = ""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        ready, _, _ = select.select([stream.fileno()], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(stream.fileno(), 65536).decode() if ready else ""
        assert piece, f"{wanted!r} did not come, but: {seen!r}"
        seen += piece
    return seen


@pytest.fixture
def commands(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Commands]:
    """Yield the command line, in a folder whose host ``here`` is this machine with a root of the test's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    commands = Commands(tmp_path, root, capsys)
    commands.declare("host", "here", root=str(root))
    commands.declare("job", "first", host="here", command="true")
    yield commands
    commands.end()
