"""Looking at real jobs."""

from __future__ import annotations

import json
import signal

from tests.services.ssh import free_port
from tests.unit.cli.conftest import Commands, read_until

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
    assert "broken" in json.loads(commands.stderr)["error"]["message"]


def test_status_as_a_table(commands: Commands) -> None:
    commands.declare("job", "killed", host="here", command=["sh", "-c", "kill -9 $$"])
    commands.run("up", "killed", "--wait")

    assert commands.run("status", "killed") == 0

    header, row = commands.stdout.splitlines()
    assert " ".join(header.split()) == "JOB HOST PROCESS STATE PID GENERATION EXIT STARTED AT ENDED AT"
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


def test_logs(commands: Commands) -> None:
    commands.declare("job", "talker", host="here", command=["sh", "-c", "seq 1 50; echo oops >&2; printf rest"])
    commands.run("up", "talker", "--wait")

    assert commands.run("logs", "talker", "-n", "2") == 0
    assert sorted(commands.stdout.splitlines()) == ["50", "rest", "talker:stderr | oops"]

    assert commands.run("logs", "talker", "-o", "json") == 0
    lines = [json.loads(line) for line in commands.stdout.splitlines()]
    assert [line["text"] for line in lines if line["stream"] == "stdout"] == [*map(str, range(1, 51)), "rest"]
    assert [line["text"] for line in lines if line["stream"] == "stderr"] == ["oops"]

    commands.run("down", "talker")
    assert commands.run("logs", "talker", "-n", "1") == 0
    assert "rest" in commands.stdout
    commands.run("down", "talker", "--purge")
    assert commands.run("logs", "talker") == 0
    assert "no output is kept" in commands.stderr


def test_logs_show_where_a_generation_begins(commands: Commands) -> None:
    commands.declare("job", "talker", host="here", command="echo one")
    commands.run("up", "talker", "--wait")
    assert commands.run("logs", "talker") == 0
    assert "generation" not in commands.stderr
    commands.run("up", "talker", "--wait", "command=echo two")

    assert commands.run("logs", "talker") == 0

    assert commands.stdout.splitlines() == ["one", "two"]
    assert commands.stderr == "--- talker: generation 2 ---\n"
    assert commands.run("logs", "talker", "-o", "json") == 0
    assert commands.stderr == ""


def test_logs_longer_than_one_answer_of_the_host(commands: Commands) -> None:
    commands.declare("job", "talker", host="here", command="seq 1 100000")
    commands.run("up", "talker", "--wait")
    assert commands.run("logs", "talker", "-n", "90000") == 0
    assert commands.stdout.splitlines() == [str(number) for number in range(10_001, 100_001)]


def test_logs_say_whose_line_it_is(commands: Commands) -> None:
    commands.declare("job", "pair", host="here", programs={"a": {"command": "echo one"}, "b": {"command": "echo two"}})
    commands.run("up", "pair", "--wait")

    assert commands.run("logs", "pair") == 0
    assert sorted(commands.stdout.splitlines()) == ["a | one", "b | two"]
    assert commands.run("logs", "pair", "--program", "b") == 0
    assert commands.stdout == "two\n"


def test_logs_are_harmless_and_taken_literally(commands: Commands) -> None:
    commands.declare("job", "talker", host="here", command=["printf", r"\033]0;x\007 [bold]no markup[/] :smile:\n"])
    commands.run("up", "talker", "--wait")
    commands.run("logs", "talker")
    assert commands.stdout == "\\x1b]0;x\\x07 [bold]no markup[/] :smile:\n"


def test_following_to_the_end(commands: Commands) -> None:
    gate = commands.gate()
    commands.declare("job", "gated", host="here", command=gate.command)
    commands.run("up", "gated")
    following = commands.start("logs", "gated", "-f")
    seen = read_until(following.stdout, "ready\n")

    gate.open("3")

    rest, said = following.communicate(timeout=30)
    assert (seen + rest, following.returncode) == ("ready\n3\n", 0)
    assert "here/gated:gated: exited with 3" in said


def test_following_can_be_left(commands: Commands) -> None:
    gate = commands.gate()
    commands.declare("job", "gated", host="here", command=gate.command)
    commands.run("up", "gated")
    following = commands.start("logs", "gated", "-f")
    read_until(following.stdout, "ready\n")

    following.send_signal(signal.SIGINT)

    _, said = following.communicate(timeout=30)
    assert following.returncode == 130
    assert said == "here/gated: left alone, it goes on\n"
    assert commands.json("status", "gated")[0]["state"] == "RUNNING"
