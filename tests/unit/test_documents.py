"""The documents are true: their files load, their commands run and print what they show, their links lead somewhere.

In a document a ``yaml`` or ``python`` block that begins with a path in a comment is that file, and of a ``console``
block every line after ``$`` is run and what follows is what it prints; ``…`` stands for anything.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import load_host
from tests.services.processes import end_processes_of
from tests.services.ssh import SSHAccount
from tests.services.sshd import find_sshd

TREE = Path(__file__).parents[2]
DOCUMENTS = [TREE / "README.md", TREE / "CONTRIBUTING.md", TREE / "CHANGELOG.md", *sorted(TREE.glob("docs/**/*.md"))]
PLAYED = [TREE / "README.md", TREE / "docs/tutorial/first-job.md"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
BIN = Path(sys.executable).parent
FIND_DAGS = """
import json, pathlib, runpy
from airflow.sdk import DAG
found = {}
for path in sorted(pathlib.Path("dags").glob("*.py")):
    values = runpy.run_path(str(path)).values()
    found[path.name] = sorted(value.dag_id for value in values if isinstance(value, DAG))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    text: str

    @property
    def path(self) -> str | None:
        """The file that it is, if it is one."""
        match = re.match(r"# (\S+\.(?:yaml|py))\n", self.text)
        return match[1] if match else None

    @property
    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command, and what it is to print."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


@dataclass
class Reader:
    """Somebody who does what a document says, in an empty folder, with an empty home."""

    folder: Path
    home: Path
    server: SSHAccount

    def follow(self, document: Path) -> None:
        for block in blocks_of(document):
            if block.language == "console":
                for command, output in block.commands:
                    assert_printed(self.run(command), output)
            elif block.path:
                self.write(block.path, block.text)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.parent.name == "host":
            # The document's host is nobody's: it must load, and the test's own server takes its place.
            assert not load_host(path.stem, config_dir=self.folder / "configs").is_local
            path.write_text(json.dumps(self.server.host()))

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=self.folder,
            env={"HOME": str(self.home), "PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\nexit {done.returncode}"
        return done.stdout

    def find_dags(self) -> dict[str, list[str]]:
        airflow = f"AIRFLOW_HOME={self.home}/airflow AIRFLOW__CORE__LOAD_EXAMPLES=false"
        (self.home / "find_dags.py").write_text(FIND_DAGS)
        return dict(json.loads(self.run(f"{airflow} python {self.home}/find_dags.py").splitlines()[-1]))


@pytest.fixture
def reader(request: pytest.FixtureRequest, short_folder: Path) -> Iterator[Reader]:
    server = request.getfixturevalue("openssh" if find_sshd() else "embedded_ssh")
    for name in ("w", "h"):
        (short_folder / name).mkdir()
    yield Reader(short_folder / "w", short_folder / "h", server)
    assert end_processes_of(short_folder / "h") == {}


@pytest.mark.parametrize("document", PLAYED, ids=lambda path: path.name)
def test_who_does_what_it_says_sees_what_it_shows(reader: Reader, document: Path) -> None:
    reader.follow(document)


def test_the_readme_makes_its_dags(reader: Reader) -> None:
    for block in blocks_of(TREE / "README.md"):
        if block.path:
            reader.write(block.path, block.text)
    assert reader.find_dags() == {"feed.py": ["feed_with_report"], "jobs.py": ["feed", "ticker"]}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TREE)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    broken = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TREE)))
def test_every_command_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^(\w+):", (TREE / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^(?:\$ )?make (\w+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"^(?:\$ )?supervisor-jobs (\w+)", text, re.MULTILINE)) <= commands_of_the_console()


def test_every_document_is_in_the_index() -> None:
    index = TREE / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    assert sorted(TREE.glob("docs/*/*.md")) == sorted(path for path in linked if path.parent.parent == index.parent)


def blocks_of(document: Path) -> list[Block]:
    return [Block(language, text) for language, text in FENCE.findall(document.read_text())]


def assert_printed(printed: str, shown: str) -> None:
    lines = [squeeze(line) for line in printed.splitlines()]
    for line in shown.splitlines():
        pattern = ".*".join(map(re.escape, squeeze(line).split("…")))
        assert any(re.fullmatch(pattern, each) for each in lines), f"{line!r} is shown, and printed was:\n{printed}"


def squeeze(line: str) -> str:
    return " ".join(line.split())


def commands_of_the_console() -> set[str]:
    import typer

    from airflow_supervisor_jobs.cli.main import app

    group = typer.main.get_command(app)
    return set(getattr(group, "commands", ()))
