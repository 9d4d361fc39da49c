"""Errors are one clear line, or one object; never a traceback."""

from __future__ import annotations

import json

import pytest

from airflow_supervisor_jobs.cli import reach
from airflow_supervisor_jobs.cli.lives import exit_status
from airflow_supervisor_jobs.core.verdict import Judgement, Verdict
from tests.unit.cli.conftest import Commands


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["up"], ["up", "first", "--nonsense"], ["wait", "first", "--timeout", "soon"], ["render", "nobody"]],
)
def test_usage_and_configuration(commands: Commands, words: list[str]) -> None:
    assert commands.run(*words) == 2
    assert commands.stdout == ""
    assert len(commands.stderr.splitlines()) == 1
    assert "Traceback" not in commands.stderr


def test_errors_are_objects_for_programs(commands: Commands) -> None:
    assert commands.run("up", "frist", "-o", "json") == 2

    error = json.loads(commands.stderr)["error"]
    assert error["type"] == "JobNotFound"
    assert error["job"] == "frist"
    assert "Did you mean 'first'?" in error["message"]


def test_a_word_that_is_no_override(commands: Commands) -> None:
    assert commands.run("render", "first", "staging") == 2
    assert "Write key=value" in commands.stderr


def test_a_defect_of_ours_says_so(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*args: object, **options: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(reach, "load_job", break_down)

    assert commands.run("status", "first") == 1
    assert "a defect of supervisor-jobs: ZeroDivisionError: by nought" in commands.stderr
    with pytest.raises(ZeroDivisionError):
        commands.run("--debug", "status", "first")


def test_help_has_an_example_for_each_command(commands: Commands) -> None:
    names = ["validate", "schema", "render", "up", "wait", "restart", "stop", "down", "status", "logs", "tunnel"]
    for name in names:
        assert commands.run(name, "--help") == 0
        assert f"Example: supervisor-jobs {name}" in commands.stdout
    assert commands.run("--help") == 0
    assert all(name in commands.stdout for name in names)


@pytest.mark.parametrize(
    ("judgement", "want"),
    [
        (Judgement(Verdict.FINISHED, "", exit_code=0), 0),
        (Judgement(Verdict.FINISHED, "", exit_code=3), 3),
        (Judgement(Verdict.SKIPPED, "", exit_code=99), 99),
        (Judgement(Verdict.FAILED, "", exit_code=255), 255),
        (Judgement(Verdict.FAILED, "", signal=9), 137),
        (Judgement(Verdict.STOPPED, "", signal=15), 143),
        (Judgement(Verdict.EXPIRED, ""), 0),
        (Judgement(Verdict.LOST, ""), 1),
        (Judgement(Verdict.TIMED_OUT, ""), 124),
        (Judgement(Verdict.UNREACHABLE, ""), 3),
    ],
)
def test_exit_status(judgement: Judgement, want: int) -> None:
    assert exit_status(judgement) == want
