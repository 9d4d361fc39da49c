"""A secret reaches its program, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fleet import HIDDEN, TOKEN, Fleet

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]


def test_secrets_reach_only_the_program(fleet: Fleet) -> None:
    # The program itself compares what it got.
    state, _ = fleet.ended("keeps_secret")
    assert state == "success"
    found = [path for path in _files(fleet.airflow.home, fleet.root) if _holds(path, TOKEN, HIDDEN)]
    # What the program itself has written.
    assert found == [fleet.root / "jobs/keeps_secret/keeps_secret/stdout.log"]
    assert "[keeps_secret] the token is ***, hidden is ***" in fleet.log("keeps_secret")


def _files(*folders: Path) -> list[Path]:
    """All files: the database with its XComs, rendered fields, triggers and task states; logs; the host's root."""
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _holds(path: Path, *secrets: str) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # of another job, removed meanwhile
        return False
    return any(secret.encode() in content for secret in secrets)
