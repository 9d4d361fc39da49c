"""A job's life on a real host, with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from airflow_supervisor_jobs.cli.reach import pipe_to
from airflow_supervisor_jobs.config import load_job, render_spec
from tests.services.sshd import OpenSSH
from tests.unit.cli.conftest import Commands, read_until

AIRFLOW = {"deployment": "prod", "dag_id": "gated", "run_id": "today"}


@pytest.fixture
def gate(commands: Commands) -> Any:
    """Declare the job ``gated``, which runs until it is let through, and return its gate."""
    gate = commands.gate()
    commands.declare("job", "gated", host="here", command=gate.command)
    return gate


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_from_up_to_down(commands: Commands, gate: Any) -> None:
    (row,) = commands.json("up", "gated")
    assert row["action"] == "started"
    assert is_alive(row["pid"])
    (again,) = commands.json("up", "gated")
    assert (again["action"], again["pid"]) == ("adopted", row["pid"])

    waiting = commands.start("wait", "gated", "-o", "json")
    read_until(waiting.stderr, "RUNNING")
    gate.open("3")
    told, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 3
    judgement = json.loads(told)
    assert (judgement["verdict"], judgement["exit_code"], judgement["program"]) == ("failed", 3, "gated")
    assert f"here/gated:gated: exited with 3 (last line: 3). Full log: {commands.root}" in judgement["message"]
    assert judgement["processes"][0]["exit_code"] == 3
    assert commands.run("wait", "gated") == 3  # and again

    assert commands.json("up", "gated")[0]["generation"] == 2
    assert commands.run("stop", "gated") == 0
    assert commands.run("stop", "gated") == 0
    assert commands.run("wait", "gated") == 128 + signal.SIGTERM
    assert "was stopped by" in commands.stderr
    assert commands.json("down", "gated")["removed"] is True
    assert commands.json("down", "gated")["removed"] is False
    assert commands.run("wait", "gated") == 3
    assert "not installed on the host. Start it: supervisor-jobs up gated" in commands.stderr


def test_a_job_whose_file_is_gone_is_ended_on_its_host(commands: Commands, gate: Any) -> None:
    (row,) = commands.json("up", "gated")
    (commands.folder / "configs/job/gated.yaml").unlink()
    assert commands.run("down", "gated") == 2
    assert "To end it without its file, name the host it is on: --on HOST" in commands.stderr
    assert commands.json("stop", "gated", "--on", "here", "--program", "gated")[0]["action"] == "stopped"
    assert not is_alive(row["pid"])
    assert commands.json("down", "gated", "--on", "here")["removed"] is True


def test_stopping_what_does_not_run(commands: Commands) -> None:
    commands.run("up", "first", "--wait")
    assert commands.run("stop", "first") == 0
    assert commands.stdout.splitlines()[1].startswith("not running ")
    assert commands.json("stop", "first")[0]["action"] == "not_running"
    commands.run("down", "first")
    assert commands.stdout.splitlines()[1].startswith("removed ")

    assert commands.run("stop", "first") == 0
    assert (commands.stdout, commands.stderr) == ("", "here/first: is not installed, there is nothing to stop\n")
    assert commands.run("down", "first") == 0
    assert (commands.stdout, commands.stderr) == ("", "here/first: is not installed\n")


def test_up_and_wait(commands: Commands) -> None:
    commands.declare("job", "killed", host="here", command=["sh", "-c", "kill -9 $$"])
    assert commands.run("up", "killed", "--wait") == 128 + signal.SIGKILL
    assert "here/killed:killed: was killed by SIGKILL (9)" in commands.stderr
    assert commands.run("up", "first", "--wait") == 0
    assert commands.run("up", "first", "--wait", "command=[sh,-c,'exit 7']", "exitcodes=[7]") == 7


def test_what_cannot_start_says_so(commands: Commands) -> None:
    assert commands.run("up", "first", "command=/nowhere/feed") == 1
    assert "could not start" in commands.stderr
    assert "/nowhere/feed" in commands.stderr


def test_a_template_is_refused(commands: Commands) -> None:
    commands.declare("job", "dated", host="here", command="feed --day {{ ds }}")
    assert commands.run("up", "dated") == 2
    assert "'feed --day {{ ds }}' is a template" in commands.stderr
    assert commands.run("up", "dated", "--wait", "command=/bin/true") == 0


def test_a_missing_secret_is_found_before_the_host_is_touched(commands: Commands) -> None:
    commands.declare("job", "first", host="here", command="true", environment={"T": {"env": "NOT_SET"}})
    assert commands.run("up", "first") == 2
    assert "NOT_SET" in commands.stderr
    assert not commands.root.exists()


def test_waiting_has_a_limit(commands: Commands, gate: Any) -> None:
    commands.run("up", "gated")
    assert commands.run("wait", "gated", "--timeout", "0.2") == 124
    assert "here/gated: not over after --timeout (0.2 s): it still runs" in commands.stderr
    assert commands.json("status", "gated")[0]["state"] == "RUNNING"


def test_up_says_that_a_program_has_ended_already(commands: Commands) -> None:
    commands.declare("job", "short", host="here", command="sh -c 'exit 2'")
    words = "short:short: has ended already, with 2. See: supervisor-jobs logs short"
    # On a busy machine it may outlive the moment for which `up` looks.
    assert any(commands.run("up", "short") == 0 and words in commands.stderr for _ in range(10))
    assert commands.run("down", "short", "--purge") == 0
    assert "here/short: removed; no logs are left there" in commands.stderr


def test_an_interrupted_wait_leaves_the_job_alone(commands: Commands, gate: Any) -> None:
    (row,) = commands.json("up", "gated")
    waiting = commands.start("wait", "gated")
    read_until(waiting.stderr, "RUNNING")

    waiting.send_signal(signal.SIGINT)

    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert said.strip() == "here/gated: left alone, it goes on. To end it: supervisor-jobs stop gated"
    assert is_alive(row["pid"])


def test_restart_is_a_new_generation_for_the_same_owner(commands: Commands, gate: Any) -> None:
    start_as(commands, AIRFLOW)

    (row,) = commands.json("restart", "gated")

    assert (row["action"], row["generation"], row["owner"]) == ("started", 2, AIRFLOW)


def test_what_airflow_runs_is_not_taken_over_unasked(commands: Commands, gate: Any) -> None:
    pid = start_as(commands, AIRFLOW)

    assert commands.run("up", "gated", "-o", "json") == 3
    error = json.loads(commands.stderr)["error"]
    assert error["code"] == "busy"
    assert "--if-running adopt" in error["message"]
    (row,) = commands.json("up", "gated", "--if-running", "adopt")

    assert (row["action"], row["pid"]) == ("adopted", pid)


def test_a_change_waits_for_a_restart(commands: Commands, gate: Any) -> None:
    (row,) = commands.json("up", "gated")
    commands.declare("job", "gated", host="here", command=gate.command, environment={"NEW": "1"})

    (again,) = commands.json("up", "gated")

    assert (again["action"], again["pid"]) == ("adopted", row["pid"])
    assert "what runs goes on as it was" in commands.stderr
    assert commands.json("restart", "gated")[0]["generation"] == 2


def test_one_program_of_several(commands: Commands) -> None:
    sleep = {"command": "sleep 1000"}
    commands.declare("job", "pair", host="here", programs={"left": sleep, "right": sleep})
    commands.json("up", "pair")

    commands.json("stop", "pair", "--program", "left")

    states = {row["program"]: row["phase"] for row in commands.json("status", "pair")}
    assert states == {"left": "ended", "right": "running"}
    assert commands.run("stop", "pair", "--program", "middle") == 2
    assert "There are: left, right" in commands.stderr


@pytest.mark.openssh
def test_over_ssh(commands: Commands, openssh: OpenSSH, monkeypatch: pytest.MonkeyPatch) -> None:
    commands.declare("host", "far", ssh_conn_id="far_away", root=str(commands.root))
    commands.declare("job", "away", host="far", command=["sh", "-c", "echo $HOME; exit 5"])

    assert commands.run("up", "away") == 3
    assert "$AIRFLOW_CONN_FAR_AWAY" in commands.stderr

    monkeypatch.setenv("AIRFLOW_CONN_FAR_AWAY", openssh.connection())
    assert commands.run("up", "away", "--wait") == 5
    assert f"far/away:away: exited with 5 (last line: {openssh.home})" in commands.stderr
    assert commands.run("logs", "away") == 0
    assert commands.stdout == f"{openssh.home}\n"
    assert commands.json("down", "away", "--purge")["supervisord_stopped"] is True


def start_as(commands: Commands, owner: dict[str, str]) -> int:
    """Start ``gated`` as somebody else and return its pid."""
    job = load_job("gated", config_dir=commands.folder / "configs")

    async def start() -> int:
        async with pipe_to(job.host) as pipe:
            await pipe.request("install", spec=render_spec(job), owner=owner, if_running="fail")
            await pipe.request("start_supervisord", job="gated")
            answer = await pipe.request("start", job="gated", owner=owner, programs=None, if_running="fail")
            return int(answer["processes"][0]["pid"])

    return asyncio.run(start())
