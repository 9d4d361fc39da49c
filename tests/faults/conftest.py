"""What every fault test has: a ledger that nothing of ours touches, the job that keeps it, and dice."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.config import Host as HostModel
from airflow_supervisor_jobs.hosts.settings import resolve
from tests.faults.campaign.tally import Tally
from tests.faults.campaign.trial import FACTS, SEED, TRIALS, Trial, dice, facts_of, times
from tests.programs.ledger import Ledger
from tests.services.far import Far
from tests.services.host import Host
from tests.services.link import Link
from tests.services.sshd import OpenSSH

SCRIPTED_JOB = Path(__file__).parents[1] / "programs/scripted_job.py"
TALLY = Tally()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try a fault as often as ``TRIALS`` says; once is enough where a change is tested."""
    marker = metafunc.definition.get_closest_marker("promise")
    if marker and (count := times(marker)) > 1:
        metafunc.parametrize("trial", range(count), indirect=True, ids=[f"trial{number}" for number in range(count)])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each report tell which promise it is about."""
    for item in items:
        if marker := item.get_closest_marker("promise"):
            item.user_properties.append((FACTS, facts_of(item, marker)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count it."""
    TALLY.add(report)


def pytest_report_header() -> str | None:
    """Say what repeats this run."""
    return f"faults: TRIALS={TRIALS} SEED={SEED}" if TRIALS > 1 else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was found, and how to see it again."""
    if TRIALS > 1:
        for row in TALLY.rows.values():
            terminalreporter.line(f"{row.promise} {row.fault}: {row.violations} of {row.trials}")
            for test in row.failed:
                terminalreporter.line(f"  again: TRIALS={TRIALS} SEED={SEED} pytest -n0 '{test}'")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what was found where a campaign wants it."""
    if (path := os.environ.get("FAULTS_FILE")) and not hasattr(session.config, "workerinput"):
        TALLY.write(Path(path), seed=SEED, trials=TRIALS, processors=os.cpu_count())


@pytest.fixture(autouse=True)
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """Yield this try's dice; a test says in it how many cases it holds."""
    trial = Trial(dice(request.node.nodeid))
    yield trial
    request.node.user_properties += [("tried", trial.tried), ("violated", trial.violated)]


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


@pytest.fixture
async def far(openssh: OpenSSH, root: Path) -> AsyncIterator[Far]:
    """Yield a host that has met our agent before, so that only orders cross the link."""
    model = HostModel.model_validate(openssh.host(name="far", root=str(root)))
    async with Link(openssh.port) as link, Host(root, settings=resolve(model, user_config=None)) as near:
        behind = openssh.host(name="far", root=str(root), port=link.port, host_key=openssh.host_key)
        yield Far(openssh, link, near, HostModel.model_validate(behind))
