"""What every fault test has: a ledger that nothing of ours touches, and the job that keeps it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger

SCRIPTED_JOB = Path(__file__).parents[1] / "programs/scripted_job.py"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield the witness, and end whatever it still knows to be running."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    yield ledger
    ledger.end_all()


@pytest.fixture
def scripted(ledger: Ledger) -> Callable[..., dict[str, Any]]:
    """Return a function that makes ``programs`` of one scripted job, ``p``, from its options."""

    def programs(*options: str, **program: Any) -> dict[str, Any]:
        command = [sys.executable, "-S", str(SCRIPTED_JOB), "--ledger", str(ledger.path), *options]
        return {"p": {"command": command, "stopwaitsecs": 1, **program}}

    return programs
