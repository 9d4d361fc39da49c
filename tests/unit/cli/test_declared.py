"""What the files say, without a host and without Airflow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from tests.unit.cli.conftest import Commands


def test_validate_checks_every_job(commands: Commands) -> None:
    broken = commands.declare("job", "second", host="here", comand="true")

    assert commands.run("validate") == 2

    assert "first" in commands.stdout
    assert any(line.split()[1:] == [str(broken), "no"] for line in commands.stdout.splitlines())
    assert "Did you mean 'command'?" in commands.stderr
    assert "second.yaml:1:1" in commands.stderr


def test_validate_shows_the_file_that_is_misnamed(commands: Commands) -> None:
    good = commands.declare("job", "second", host="here", command="true")
    misnamed = good.rename(good.with_suffix(".yml"))
    assert commands.run("validate", "-o", "json") == 2
    assert str(misnamed) in [row["file"] for row in json.loads(commands.stdout)]


def test_validate_says_so_to_programs(commands: Commands) -> None:
    commands.declare("job", "second", host="nowhere", command="true")

    assert commands.run("validate", "-o", "json") == 2

    rows = {row["job"]: row for row in json.loads(commands.stdout)}
    assert rows["first"]["ok"] == "yes"
    assert rows["first"]["error"] is None
    assert "nowhere" in rows["second"]["error"]
    assert commands.stderr == ""


def test_validate_takes_files_and_folders(commands: Commands) -> None:
    broken = commands.declare("job", "second", host="here", command=[])
    good = commands.folder / "configs" / "job" / "first.yaml"

    assert commands.run("validate", str(good)) == 0
    assert commands.run("validate", str(good), str(broken)) == 2
    assert commands.run("validate", str(commands.folder / "configs")) == 2
    assert commands.run("validate", "nowhere.yaml") == 2
    assert "nowhere.yaml" in commands.stderr


def test_validate_heeds_overrides(commands: Commands) -> None:
    assert commands.run("validate", "host=local") == 0
    assert commands.run("validate", "host=nowhere") == 2


def test_schema_is_a_json_schema(commands: Commands) -> None:
    assert commands.run("schema") == 0
    assert "command" in json.dumps(json.loads(commands.stdout))


def test_render_shows_what_supervisord_gets(commands: Commands) -> None:
    assert commands.run("render", "first") == 0
    assert "[program:first.first]" in commands.stdout


def test_a_jobs_file_does_for_its_name(commands: Commands) -> None:
    path = commands.folder / "configs" / "job" / "first.yaml"
    for name in ("configs/job/first.yaml", str(path), "first.yaml"):
        assert commands.run("render", name) == 0, commands.stderr
        assert "[program:first.first]" in commands.stdout
    assert commands.run("up", "configs/job/nope.yaml") == 2
    assert commands.stderr == (
        "there is no file configs/job/nope.yaml. Give a job's name, like nope, or the path of its file\n"
    )


def test_render_shows_the_job_with_its_overrides(commands: Commands) -> None:
    assert commands.run("render", "first", "--target", "job", "command=/bin/false") == 0

    job = yaml.safe_load(commands.stdout)
    assert job["host"]["root"] == str(commands.root)
    assert job["programs"]["first"]["command"] == "/bin/false"


def test_render_never_shows_a_secret(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", "s3cr3t")
    commands.declare(
        "job",
        "first",
        host="here",
        command="true",
        environment={"TOKEN": {"env": "FEED_TOKEN"}},
        inet_http_server={"port": 9001, "username": "ann", "password": {"env": "FEED_TOKEN"}},
    )
    for target in ("job", "supervisord"):
        for form in ("table", "json"):
            assert commands.run("render", "first", "--target", target, "-o", form) == 0, commands.stderr
            assert "s3cr3t" not in commands.stdout + commands.stderr
            assert "88e3ad" not in commands.stdout  # nor its hash


def test_the_folder_can_be_given(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert commands.run("render", "first") == 2
    assert "no folder 'configs'" in commands.stderr
    assert commands.run("render", "first", "--config-dir", str(commands.folder / "configs")) == 0
    monkeypatch.setenv("SUPERVISOR_JOBS_CONFIG_DIR", str(commands.folder / "configs"))
    assert commands.run("render", "first") == 0


def test_none_of_it_imports_airflow_or_an_ssh_library(commands: Commands) -> None:
    script = """
import sys
from airflow_supervisor_jobs.cli.main import run
assert [run(words) for words in (["validate"], ["schema"], ["render", "first"])] == [0, 0, 0]
heavy = {"airflow", "paramiko", "asyncssh"} & {name.partition(".")[0] for name in sys.modules}
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=commands.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_error_of_a_file_names_its_job(commands: Commands) -> None:
    commands.declare("job", "second", host="here", command="true", startsecs="soon", umask="9")
    assert commands.run("validate") == 2
    lines = commands.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("second: configs/job/second.yaml:") for line in lines)


def test_a_command_for_a_shell_that_goes_to_none_is_warned_of(commands: Commands) -> None:
    path = commands.declare("job", "second", host="here", command="cd /tmp && true > out.txt")
    assert commands.run("validate", str(path)) == 0
    words = "command goes to no shell: cd, &&, > are plain words there. Set shell: true\n"
    assert commands.stderr == f"configs/job/second.yaml:1:10: {words}"
    commands.run("up", "second")
    assert commands.stderr.startswith(f"configs/job/second.yaml:1:10: {words}")
    (row,) = commands.json("validate", str(path))
    assert row["ok"] == "yes"
    assert len(row["warnings"]) == 1
