"""Reading the logs of real jobs."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timezone

import pytest

from airflow_supervisor_jobs.cli.since import parse_since
from airflow_supervisor_jobs.exceptions import ConfigError
from tests.unit.cli.conftest import Commands, read_until

NOW = datetime(2026, 11, 21, 12, 0).astimezone()


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
    assert commands.stderr == "--- talker: generation 1 ---\n--- talker: generation 2 ---\n"
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


def three_generations(commands: Commands) -> None:
    for word in ("one", "two", "three"):
        commands.declare("job", "talker", host="here", command=["sh", "-c", f"seq -f '{word} %g' 1 3; echo {word} >&2"])
        commands.run("up", "talker", "--wait")


def test_the_generation_before(commands: Commands) -> None:
    three_generations(commands)

    assert commands.run("logs", "talker", "--previous") == 0
    lines = ["talker:stderr | two", "two 1", "two 2", "two 3"]
    assert sorted(commands.stdout.splitlines()) == lines
    assert commands.run("logs", "talker", "--previous", "-n", "1") == 0
    assert sorted(commands.stdout.splitlines()) == [lines[0], lines[-1]]

    commands.run("down", "talker")
    assert commands.run("logs", "talker", "--previous") == 0
    assert sorted(commands.stdout.splitlines()) == lines


def test_there_may_be_no_generation_before(commands: Commands) -> None:
    commands.declare("job", "talker", host="here", command="echo one")
    commands.run("up", "talker", "--wait")
    assert commands.run("logs", "talker", "--previous") == 0
    assert commands.stdout == ""
    assert "no output of a generation before is kept" in commands.stderr


def test_since_a_time_and_with_times(commands: Commands) -> None:
    three_generations(commands)
    assert commands.run("logs", "talker", "-o", "json") == 0
    times = {line["text"]: line["time"] for line in map(json.loads, commands.stdout.splitlines())}
    moment = datetime.fromtimestamp(times["three 1"], timezone.utc).isoformat()

    assert commands.run("logs", "talker", "--since", moment, "--timestamps") == 0
    stamp = datetime.fromtimestamp(times["three 1"]).astimezone().isoformat(timespec="milliseconds")
    assert commands.stdout.splitlines()[0] == f"{stamp} three 1"
    assert [line.split()[-1] for line in commands.stdout.splitlines()] == ["1", "2", "3", "three"]

    assert commands.run("logs", "talker", "--since", "1h") == 0
    assert len(commands.stdout.splitlines()) == 12
    assert commands.run("logs", "talker", "--since", "1h", "-n", "1") == 0
    assert sorted(commands.stdout.splitlines()) == ["talker:stderr | three", "three 3"]
    assert commands.run("logs", "talker", "--since", "2099-01-01") == 0
    assert "no output of that time is kept" in commands.stderr


def test_following_since_a_time(commands: Commands) -> None:
    gate = commands.gate()
    commands.declare(
        "job", "pair", host="here", programs={"gated": {"command": gate.command}, "other": {"command": "seq 1 1000"}}
    )
    commands.run("up", "pair")
    following = commands.start("logs", "pair", "-f", "--since", "1h", "--program", "gated", "--timestamps")
    read_until(following.stdout, "ready\n")

    gate.open("3")

    rest, said = following.communicate(timeout=30)
    stamp, bar, text = rest.rstrip().partition(" gated | ")
    assert (bar, text) == (" gated | ", "3")
    assert datetime.fromisoformat(stamp).tzinfo is not None
    assert "exited with 3" in said


def test_what_has_ended_is_not_followed(commands: Commands) -> None:
    for more in (["-f"], ["--since", "1h"]):
        assert commands.run("logs", "first", "--previous", *more) == 2
        assert "--previous" in commands.stderr


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-11-21T11:58:30"),
        ("2h", "2026-11-21T10:00:00"),
        ("08:30", "2026-11-21T08:30:00"),
        ("23:00", "2026-11-20T23:00:00"),
        ("2026-11-20", "2026-11-20T00:00:00"),
        ("2026-11-20 08:30", "2026-11-20T08:30:00"),
    ],
)
def test_a_moment_without_a_zone_is_of_here(text: str, moment: str) -> None:
    assert parse_since(text, now=NOW.timestamp()) == datetime.fromisoformat(moment).astimezone().timestamp()


@pytest.mark.parametrize("text", ["2026-11-20T08:30:00Z", "2026-11-20T09:30:00+01:00"])
def test_a_moment_may_have_a_zone(text: str) -> None:
    wanted = datetime(2026, 11, 20, 8, 30, tzinfo=timezone.utc).timestamp()
    assert parse_since(text, now=NOW.timestamp()) == wanted


@pytest.mark.parametrize("text", ["yesterday", "", "-5m", "25:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_since(text, now=NOW.timestamp())
