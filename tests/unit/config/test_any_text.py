"""Whatever a command or a value is, what the host is told is that."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from supervisor.options import UnhosedConfigParser

from airflow_supervisor_jobs.config import Job, load_file, render_spec
from tests.services.texts import as_yaml, names, texts

#: Composing a file is not free.
briefly = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def load(folder: Path, **data: object) -> Job:
    path = folder / "job.yaml"
    path.write_text(as_yaml(data), encoding="utf-8")
    return load_file(path)


@briefly
@given(argv=st.lists(texts, min_size=1, max_size=5).filter(any), environment=st.dictionaries(names, texts, max_size=4))
@example(argv=["0E0"], environment={"A": "0E0"})
@example(argv=["a" * 100_000], environment={"A": "b" * 100_000})
def test_words_and_values_come_through_as_they_are(folder: Path, argv: list[str], environment: dict[str, str]) -> None:
    job = load(folder, command=argv, environment=environment)
    process = render_spec(job)["processes"][0]
    assert process["argv"] == argv
    assert process["environment"] == environment
    assert Job.model_validate(job.model_dump(mode="json")) == job


@briefly
@given(argv=st.lists(texts, min_size=1, max_size=5).filter(any))
def test_a_text_is_split_as_a_shell_would(folder: Path, argv: list[str]) -> None:
    job = load(folder, command=shlex.join(argv))
    assert render_spec(job)["processes"][0]["argv"] == argv


@briefly
@given(command=texts.filter(str.strip))
def test_a_shells_text_is_one_word(folder: Path, command: str) -> None:
    job = load(folder, command=command, shell=True)
    assert render_spec(job)["processes"][0]["argv"] == ["/bin/sh", "-c", command]


@briefly
@given(command=st.lists(texts, min_size=1).filter(any))
def test_nothing_in_a_command_becomes_a_line_of_supervisords(folder: Path, command: list[str]) -> None:
    conf = render_spec(load(folder, command=command))["conf"]
    plain = render_spec(load(folder, command=["x"]))["conf"]
    assert conf.isascii()
    assert parsed(conf) == parsed(plain)


@briefly
@given(path=texts.map(lambda text: f"/{text}").filter(lambda text: not text.startswith("/dev/")))
def test_a_listeners_log_is_the_one_in_the_conf_or_the_conf_has_none(folder: Path, path: str) -> None:
    listener = {"command": ["x"], "events": "TICK_5", "stdout_logfile": path}
    spec = render_spec(load(folder, event_listeners={"ear": listener}))
    assert spec["processes"][0]["stdout"]["path"] == path
    parser = UnhosedConfigParser()
    parser.read_string(spec["conf"])
    told = parser.saneget("eventlistener:job.ear", "stdout_logfile", expansions={"here": "/root"})
    assert told in (path, "NONE")


def parsed(conf: str) -> dict[str, dict[str, str]]:
    parser = UnhosedConfigParser()
    parser.read_file(io.StringIO(conf))
    return {section: dict(parser.items(section)) for section in parser.sections()}
