"""The ledger sees a second copy, and sees none where there was none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import SCRIPTED_JOB
from tests.programs.ledger import Ledger

Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run(ledger: Ledger) -> Iterator[Run]:
    """Yield a function that starts one copy of the job, marked as one generation, and waits for its first line."""
    command = [sys.executable, "-S", str(SCRIPTED_JOB), "--ledger", str(ledger.path), "--beat-every", "0.01"]

    def start(mark: str, *options: str) -> subprocess.Popen[bytes]:
        seen = len(ledger.starts())
        started.append(subprocess.Popen([*command, "--mark", mark, *options]))
        ledger.wait_for(lambda book: len(book.starts()) > seen)
        return started[-1]

    started: list[subprocess.Popen[bytes]] = []
    yield start
    ledger.end_all()
    for process in started:
        process.wait(10)


def test_two_at_a_time_are_two_copies(ledger: Ledger, run: Run) -> None:
    first, second = run("1", "--run-for", "600"), run("2", "--run-for", "600")
    newer, older = ledger.wait_for(lambda book: book.copies())[0]
    assert (newer.pid, older.pid) == (second.pid, first.pid)


def test_one_after_the_other_are_no_copies(ledger: Ledger, run: Run) -> None:
    run("1", "--run-for", "0.1").wait()
    killed = run("2", "--run-for", "600")
    killed.kill()
    killed.wait()
    run("3", "--run-for", "0.1", "--fork", "--children-run-for", "0.1").wait()
    assert len(ledger.starts(role="main")) == 3
    assert ledger.copies() == []


def test_a_child_of_an_earlier_start_is_a_copy(ledger: Ledger, run: Run) -> None:
    run("1", "--setsid", "--run-for", "0.1").wait()
    assert ledger.alive(role="child")
    run("2", "--run-for", "600")
    assert ledger.wait_for(lambda book: book.copies())[0][1].role == "child"
