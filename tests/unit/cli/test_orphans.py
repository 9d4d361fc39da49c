"""A look for orphans on a real host, where no Airflow can be asked."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.services.waiting import wait_until
from tests.unit.cli.conftest import Commands


@pytest.fixture(autouse=True)
def no_airflow(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(commands.folder / "none"))


def test_a_host_where_nothing_was_found_is_named(commands: Commands) -> None:
    assert commands.run("orphans") == 0
    assert commands.stdout == ""
    assert commands.stderr.startswith("Nothing was found on here\n")


def test_a_stray_is_shown_with_its_command(commands: Commands) -> None:
    commands.declare("job", "leaves", host="here", command=["sh", "-c", "setsid sleep 600 & echo ready; wait"])
    commands.run("up", "leaves")
    wait_until(lambda: "ready" in (commands.run("logs", "leaves"), commands.stdout)[1], "the program to have begun")
    runner = json.loads((commands.root / "jobs/leaves/leaves/run.json").read_text())["runner_pid"]
    os.kill(runner, signal.SIGKILL)

    wait_until(lambda: commands.run("orphans") == 4, "a stray")
    assert "sleep 600" in commands.stdout
    assert "Nothing was found" not in commands.stderr
    wait_until(lambda: commands.run("orphans", "--stop") == 0, "its end")
