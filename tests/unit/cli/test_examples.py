"""The examples of the reference and of --help do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.unit.cli.conftest import Commands

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
NAMES = ["validate", "schema", "render", "up", "wait", "restart", "stop", "down", "status", "logs", "orphans", "tunnel"]


def test_examples(commands: Commands) -> None:
    lines = re.findall(r"^\$ supervisor-jobs (.+)$", REFERENCE.read_text(), flags=re.MULTILINE)
    assert len(lines) >= 10
    declare(commands)
    for line in lines:
        assert commands.run(*shlex.split(line)) == 0, line
    assert not any((commands.root / "jobs").rglob("*.log"))


def test_examples_of_help(commands: Commands) -> None:
    declare(commands)
    assert commands.run("up", "market_feed", "--wait") == 0
    for name in NAMES:
        assert commands.run(name, "--help") == 0
        (example,) = re.findall(r"Example: supervisor-jobs (.+)", commands.stdout)
        words = shlex.split(example.partition(" > ")[0])
        if name != "tunnel":  # it goes on until it is interrupted, and has its own tests
            assert commands.run(*words) == 0, example


def declare(commands: Commands) -> None:
    for host in ("trading-1", "staging"):
        commands.declare("host", host, root=str(commands.root))
    commands.declare("job", "market_feed", host="trading-1", programs={"feed": {"command": "echo open"}})
