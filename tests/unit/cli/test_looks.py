"""Looking at real jobs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from airflow_supervisor_jobs.cli.rows import row_of
from airflow_supervisor_jobs.core.status import ProcessStatus
from tests.services.ssh import free_port
from tests.services.waiting import wait_until
from tests.unit.cli.conftest import Commands

WANTED = {
    "job", "host", "program", "state", "pid", "generation", "exit_code", "signal", "started_at", "ended_at",
}  # fmt: skip


def test_status_of_all_jobs_with_what_is_wrong_beside(commands: Commands) -> None:
    commands.declare("host", "gone", hostname="127.0.0.1", port=free_port(), username="ann", conn_timeout=5)
    commands.declare("job", "away", host="gone", command="true")
    commands.declare("job", "broken", comand="true")
    commands.declare("job", "second", host="here", command="true")
    assert commands.run("up", "first", "--wait") == 0

    assert commands.run("status", "-o", "json") == 3

    rows = {row["job"]: row for row in json.loads(commands.stdout)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "away": "UNREACHABLE",
        "first": "EXITED",
        "second": "NOT_INSTALLED",
    }
    assert rows["first"]["exit_code"] == 0
    assert rows["first"]["ended_at"] >= rows["first"]["started_at"]
    assert "gone: " in rows["away"]["error"]
    assert all(row.keys() >= WANTED for row in rows.values())
    assert "broken" in json.loads(commands.stderr.splitlines()[-1])["error"]["message"]


def test_status_as_a_table(commands: Commands) -> None:
    commands.declare("job", "killed", host="here", command=["sh", "-c", "kill -9 $$"])
    commands.run("up", "killed", "--wait")

    assert commands.run("status", "killed") == 0

    header, row = commands.stdout.splitlines()
    assert " ".join(header.split()) == "JOB HOST PROCESS STATE PID GENERATION EXIT STARTED AT ENDED AT RESTARTS"
    assert row.split()[:3] == ["killed", "here", "killed"]
    assert "SIGKILL (9)" in row


def test_status_heeds_overrides(commands: Commands) -> None:
    assert [row["host"] for row in commands.json("status", "host=here")] == ["here"]
    assert commands.run("status", "first", "host=nowhere") == 2


def test_status_of_a_broken_job_is_a_configuration_error(commands: Commands) -> None:
    commands.declare("job", "broken", comand="true")
    assert commands.run("status") == 2
    assert "first" in commands.stdout


def test_an_error_comes_without_an_empty_table(commands: Commands) -> None:
    commands.declare("job", "first", comand="true")
    assert commands.run("status") == 2
    assert commands.stdout == ""


def test_no_jobs_are_an_error(commands: Commands) -> None:
    (commands.folder / "configs" / "job" / "first.yaml").unlink()
    for command in ("status", "validate"):
        assert commands.run(command) == 2
        assert commands.stdout == ""
        assert commands.stderr.startswith(f"no jobs in {commands.folder / 'configs'}: ")


@pytest.mark.parametrize(
    "end", [{"phase": "lost"}, {"phase": "ended", "record": {"generation": 1, "reason": "lost"}}], ids=["gone", "told"]
)
def test_an_end_that_nobody_saw_is_shown_as_lost(end: dict[str, object]) -> None:
    status = ProcessStatus.from_wire({"job": "j", "program": "p", "process": "p", **end})
    assert row_of(status, host="here")["exit"] == "lost"


def test_restarts_are_shown(commands: Commands) -> None:
    restart = {"attempts": 2, "delay": "0s", "jitter": 0}
    commands.declare("job", "crashes", host="here", command="false", autorestart="unexpected", restart=restart)
    commands.run("up", "crashes", "--wait")
    assert commands.run("status", "crashes") == 0
    row = commands.stdout.splitlines()[1].split()
    assert (row[3:7], row[-1]) == (["EXITED", "-", "3", "1"], "2")


def test_without_supervisord_what_runs_is_shown_with_what_brings_it_back(commands: Commands) -> None:
    commands.declare("job", "gated", host="here", command=commands.gate().command)
    commands.run("up", "gated")
    pid = int((commands.root / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "an end"
    )

    assert commands.run("status", "gated") == 0
    assert commands.stdout.splitlines()[1].split()[3] == "RUNNING"
    assert commands.stderr == (
        "here: supervisord does not answer there; what runs goes on. "
        "A watch brings it back: Airflow's, or supervisor-jobs wait gated\n"
    )
    assert commands.json("status", "gated")[0]["state"] is None

    commands.start("wait", "gated")
    wait_until(lambda: commands.json("status", "gated")[0]["state"] == "RUNNING", "supervisord to be back")
