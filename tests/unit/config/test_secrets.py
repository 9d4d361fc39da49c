"""A secret is looked up for the spec, and is nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, Secret, load_file, make_job, render_spec
from airflow_supervisor_jobs.exceptions import ConfigError

SECRET = "correct horse battery staple"


def test_it_is_in_the_processes_environment_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    job = make_job(
        {
            "command": "x",
            "environment": {"A": {"env": "MY_SECRET"}, "B": {"file": str(tmp_path / "secret")}},
            "inet_http_server": {"port": 9001, "username": "me", "password": {"env": "MY_SECRET"}},
        },
        name="j",
    )
    spec = render_spec(job, environ={"MY_SECRET": SECRET})
    assert spec["processes"][0].pop("environment") == {"A": SECRET, "B": SECRET}
    for text in (repr(job), str(job), job.model_dump_json(), json.dumps(spec)):
        assert SECRET not in text


def test_a_mistake_beside_it_does_not_print_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "j.yaml"
    path.write_text(f"command: x\nenvironment: {{A: '{SECRET}', B: {{env: X, file: '{SECRET}'}}, C: ['{SECRET}']}}\n")
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert SECRET not in str(caught.value)


def test_a_file_is_read_as_text_without_its_last_line_end(tmp_path: Path) -> None:
    for content, value in ((b"a\n", "a"), (b"a\r\n", "a"), (b"a", "a"), (b"a\n\n", "a\n"), ("é".encode(), "é")):
        (tmp_path / "s").write_bytes(content)
        assert Secret(file=str(tmp_path / "s")).resolve({}) == value


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret(file=str(tmp_path / "none")).resolve({})
    (tmp_path / "s").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret(file=str(tmp_path / "s")).resolve({})


def test_what_a_secret_holds_must_fit_into_an_environment() -> None:
    with pytest.raises(ConfigError, match=r"j:j: environment\.A: the secret has a NUL"):
        render_spec(make_job({"command": "x", "environment": {"A": {"env": "S"}}}, name="j"), environ={"S": "a\0b"})


def test_the_hash_follows_the_secret() -> None:
    job = make_job({"command": "x", "environment": {"A": {"env": "S"}}}, name="j")
    hashes = [render_spec(job, environ={"S": value})["hash"] for value in ("a", "a", "b")]
    assert hashes[0] == hashes[1] != hashes[2]
    assert isinstance(job, Job)
