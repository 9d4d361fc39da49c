"""Which commands say something to a shell that they never meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import load_file, make_job, shell_warnings
from airflow_supervisor_jobs.config.shell import shell_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("cd /x && python a.py > out.txt", ["cd", "&&", ">"]),
        ("a | b || c ; d & e < f >> g 2>&1", ["|", "||", ";", "&", "<", ">>", "2>&1"]),
        ("a >out.txt 2>/dev/null", [">out.txt", "2>/dev/null"]),
        ("source env/bin/activate", ["source"]),
        ("A=1 python a.py", ["A=1"]),
        ('python a.py $HOME "${DAY}/x"', ["$HOME", '"${DAY}/x"']),
        ("grep '|' '$HOME' \\$x \\; cd", []),
        ("""sh -c 'cd /x && a > $b'""", []),
        ("""bash -c "cd /x && a > $b" """, []),
        ("python {{ a | b }} --x=<y> -> a->b a&b", []),
    ],
)
def test_words_for_a_shell_are_found_and_quoted_ones_are_not(command: str, words: list[str]) -> None:
    assert shell_words(command) == words


@pytest.mark.parametrize("more", [{"command": "a && b", "shell": True}, {"command": ["find", ".", ";"]}])
def test_a_shells_command_and_a_list_are_meant_as_they_are(more: dict[str, object]) -> None:
    assert shell_warnings(make_job(more, name="j")) == []


def test_each_program_is_named_once_by_its_place_where_it_has_one(tmp_path: Path) -> None:
    path = tmp_path / "j.yaml"
    path.write_text("programs:\n  p: {command: true | cat, numprocs: 2}\n  q: {command: 'true'}\n")
    says = "command goes to no shell: | is a plain word there. Set shell: true"
    assert shell_warnings(load_file(path)) == [f"{path}:2:16: {says}"]
    assert shell_warnings(load_file(path, ["programs.p.command='a | b'"])) == [f"j:p: {says}"]
