"""Jinja is rendered where it is promised, and what comes out is judged like what was written."""

from __future__ import annotations

import pytest

from airflow_supervisor_jobs.config import Job, Secret, make_job, render_templates
from airflow_supervisor_jobs.exceptions import ConfigError


def job(**program: object) -> Job:
    return make_job({"programs": {"p": {"command": "x", **program}}}, name="j")


def test_commands_environments_directories_and_hosts_are_rendered() -> None:
    declared = make_job(
        {
            "host": {"hostname": "{{ h }}", "root": "/srv/{{ h }}"},
            "programs": {
                "text": {"command": "run {{ two words }}", "directory": "/{{ d }}"},
                "words": {"command": ["run", "{{ two words }}"], "environment": {"A": "{{ a }}", "env": "{{ a }}"}},
            },
        },
        name="j",
    )
    rendered = render_templates(
        declared, lambda text: text.replace("{{ two words }}", "2 words").replace("{{ ", "").replace(" }}", "")
    )
    assert declared.host.name == "unnamed"
    assert (rendered.host.name, rendered.host.hostname, rendered.host.root) == ("h", "h", "/srv/h")
    assert rendered.programs["text"].argv == ("run", "2", "words")
    assert rendered.programs["text"].directory == "/d"
    assert rendered.programs["words"].argv == ("run", "2 words")
    assert rendered.programs["words"].environment == {"A": "a", "env": "a"}


def test_what_has_no_jinja_is_not_given_to_it() -> None:
    def refuse(text: str) -> str:
        raise AssertionError(text)

    declared = job(command="a '{ }' 100%\n", environment={"A": "b\n", "S": {"env": "{{ X }}"}}, user="{{u}}")
    assert render_templates(declared, refuse) == declared
    assert declared.programs["p"].environment["S"] == Secret(env="{{ X }}")


@pytest.mark.parametrize(
    ("program", "rendered", "message"),
    [
        ({"command": "{{ x }}"}, "'", "programs.p.command: cannot be split into words"),
        ({"command": "{{ x }}"}, " ", "programs.p.command: is empty"),
        ({"command": ["{{ x }}"]}, "\0", "programs.p.command: has a NUL"),
        ({"directory": "{{ x }}"}, "../x", "programs.p.directory: '../x' is relative"),
        ({"environment": {"A": "{{ x }}"}}, "%(here)s", "programs.p.environment.A: %.here.s is known on the host only"),
    ],
)
def test_what_comes_out_is_judged(program: dict[str, object], rendered: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        render_templates(job(**program), lambda _: rendered)
    assert str(caught.value).startswith("local/j: after rendering: ")


def test_a_command_whose_quotes_only_close_when_rendered_is_allowed() -> None:
    assert job(command='echo {{ "it\'s" }}').programs["p"].command == 'echo {{ "it\'s" }}'
