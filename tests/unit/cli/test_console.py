"""On a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from types import SimpleNamespace

import pytest

from tests.services.ssh import free_port
from tests.unit.cli.conftest import COMMAND, Commands, read_until


def run_on_terminal(*words: str) -> tuple[int, str, str]:
    """Run a command whose standard error is a terminal; return its exit status and what came out on both ways."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=theirs, text=True) as command:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how a terminal says that nobody is left at its other side
            pass
        os.close(ours)
        result = command.communicate(timeout=60)[0]
    return command.returncode, result, shown.decode()


def test_progress_is_shown_and_results_go_where_they_are_sent(commands: Commands) -> None:
    status, result, shown = run_on_terminal("up", "first", "--wait", "-o", "json")

    assert status == 0
    assert json.loads(result)["verdict"] == "finished"
    assert "first: connecting to here" in shown
    assert "verdict" not in shown


def test_an_error_ends_the_progress(commands: Commands) -> None:
    status, result, shown = run_on_terminal("wait", "first")

    assert (status, result) == (3, "")
    assert "first: waiting for its end" in shown
    assert "not installed on the host" in shown


def test_that_a_host_is_tried_again_is_shown(commands: Commands) -> None:
    port = free_port()
    commands.declare("host", "gone", hostname="127.0.0.1", port=port, username="ann")
    commands.declare("job", "away", host="gone", command="true")
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, "status", "away"], stdout=subprocess.PIPE, stderr=theirs) as command:
        os.close(theirs)
        read_until(SimpleNamespace(fileno=lambda: ours), f"Trying again: gone: nobody listens on 127.0.0.1:{port}")
        command.kill()
    os.close(ours)


def test_that_a_host_is_tried_again_is_said_once_where_there_is_no_terminal(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_supervisor_jobs.hosts.refusals.REFUSED_PATIENCE", 2)
    port = free_port()
    commands.declare("host", "gone", hostname="127.0.0.1", port=port, username="ann")
    commands.declare("job", "away", host="gone", command="true")
    assert commands.run("up", "away", "-o", "json") == 3
    *retries, last = commands.stderr.splitlines()
    words = f"gone: nobody listens on 127.0.0.1:{port}. Check that the host is up, its `port`, and sshd."
    assert retries == [f"Trying again: {words}"]
    assert json.loads(last)["error"]["message"] == words
