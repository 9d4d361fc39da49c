"""supervisorctl through a socket here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.sshd import OpenSSH
from tests.unit.cli.conftest import Commands, read_until


def supervisorctl(server: str, *words: str) -> str:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-s", server, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.openssh
def test_supervisorctl_through_ssh(commands: Commands, openssh: OpenSSH) -> None:
    commands.declare("host", "far", **openssh.host(root=str(commands.root)))
    commands.declare("job", "sleeper", host="far", command="sleep 1000")
    commands.run("up", "sleeper")
    tunnel = commands.start("tunnel", "far", "-o", "json")
    told = json.loads(read_until(tunnel.stdout, "\n"))

    for _ in range(3):  # one connection after the other
        assert "RUNNING" in supervisorctl(told["server"], "status")
    assert Path(told["socket"]).stat().st_mode & 0o077 == 0

    tunnel.send_signal(signal.SIGINT)
    tunnel.communicate(timeout=30)
    assert tunnel.returncode == 0
    assert not Path(told["socket"]).exists()


def test_where_the_socket_is_can_be_said(commands: Commands, short_folder: Path) -> None:
    commands.run("up", "first", "--wait")
    path = short_folder / "here.sock"
    tunnel = commands.start("tunnel", "here", "--socket", str(path))
    read_until(tunnel.stderr, f"supervisorctl -s unix://{path} status\nCtrl-C ends the tunnel\n")

    assert "EXITED" in supervisorctl(f"unix://{path}", "status")

    tunnel.send_signal(signal.SIGTERM)
    tunnel.communicate(timeout=30)
    assert tunnel.returncode == 0
    assert not path.exists()


def test_overrides_are_the_hosts(commands: Commands) -> None:
    assert commands.run("tunnel", "--help") == 0
    assert "What to change in the host's file" in commands.stdout


def test_a_host_that_is_not_declared(commands: Commands) -> None:
    assert commands.run("tunnel", "nowhere") == 2
    assert "nowhere" in commands.stderr


def test_a_place_where_no_socket_can_be(commands: Commands) -> None:
    assert commands.run("tunnel", "here", "--socket", "/nowhere/at/all.sock") == 3
    assert "no socket can be made at /nowhere/at/all.sock" in commands.stderr
