"""One real Airflow for all end-to-end tests; every job that they name has a run that began when it did."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import HIDDEN, TOKEN, Fleet
from tests.services.airflow import Airflow
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.processes import end_processes_of
from tests.services.sshd import OpenSSH, find_sshd

HERE = Path(__file__).parent
#: Files whose DAG has another name.
RENAMED = {"broken": "broken__broken", "loses_answer": "start_loses_answer"}
#: What DAG files declare.
DECLARED = [
    "every_task_killed",
    "fails_configure_supervisord",
    "fails_start_supervisord",
    "fails_watch_programs",
    "fails_teardowns",
    "task_times_out",
]
#: Their time is limited, so they have a head start.
FIRST = ["times_out", "poked_times_out", "rescheduled_times_out"]
#: Their tests begin them.
LATER = "siege_"
#: What the DAGs of another DAG's sensors have to agree on.
LOGICAL_DATE = "2026-01-05T00:00:00Z"
TOGETHER = ["ends_seen_well", "ends_seen_badly", "onlooker"]
#: Triggerers, workers and API servers are missed sooner than by default.
SETTINGS = {
    "triggerer": {"triggerer_health_check_threshold": "10"},
    "workers": {"min_heartbeat_interval": "2", "max_failed_heartbeats": "2", "execution_api_retry_wait_max": "2"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kills Airflow's daemons comes last: then no other test needs them."""
    items.sort(key=lambda item: item.path.name == "test_siege.py")


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    # A UNIX socket's path has room for about a hundred characters.
    home = Path(tempfile.mkdtemp(prefix="asj-e2e-"))
    root, ledgers = home / "host", home / "ledgers"
    ledgers.mkdir()
    shutil.copytree(HERE / "dags", home / "dags")
    shutil.copytree(HERE / "configs", home / "configs")
    try:
        with (OpenSSH if find_sshd() else EmbeddedSSH)(home / "s") as site:
            environ = {
                "E2E_ROOT": str(root),
                "E2E_LEDGERS": str(ledgers),
                "E2E_PYTHON": sys.executable,
                "E2E_PROGRAM": str(HERE.parent / "programs/scripted_job.py"),
                "E2E_SITE": str(home / "site"),
                "E2E_SITE_PORT": str(site.port),
                "E2E_SITE_USER": site.username,
                "E2E_SITE_KEY": str(site.key_file),
                "E2E_SITE_KNOWN_HOSTS": str(site.known_hosts),
                "E2E_HIDDEN": HIDDEN,
                # What a worker has and no program may see.
                "AIRFLOW__SUPERVISOR_JOBS__CANARY": "sings",
                "AIRFLOW_VAR_E2E_TOKEN": TOKEN,
                "HOME": str(home),
            }
            with Airflow(home / "airflow", dags=home / "dags", environ=environ, settings=SETTINGS) as airflow:
                yield with_runs(
                    Fleet(airflow, root, site, ledgers), home / "configs" / "job", named_in(request.session)
                )
    finally:
        # A watch that lives brings supervisord back: so Airflow ends first.
        left = end_processes_of(home)
    assert left == {}
    if request.session.testsfailed:
        request.config.get_terminal_writer().line(f"\nwhat this Airflow wrote is kept in {home}")
    else:
        shutil.rmtree(home)


def named_in(session: pytest.Session) -> set[str]:
    """The words of all test modules that take part: a job that none of them names need not run."""
    modules = {item.path for item in session.items if item.path.parent == HERE}
    return {word for module in modules for word in re.findall(r"\w+", module.read_text())}


def with_runs(fleet: Fleet, jobs: Path, named: set[str]) -> Fleet:
    """Every job that is named has a run."""
    files = [RENAMED.get(path.stem, path.stem) for path in sorted(jobs.glob("*.yaml"))]
    fleet.airflow.wait_for_dags([*files, *DECLARED, *TOGETHER])
    first = [dag for dag in FIRST if dag in named]
    for dag in first:
        fleet.begin(dag)
    for dag in first:
        fleet.in_state(dag, "deferred", "running", "up_for_reschedule")
    for dag in TOGETHER:
        if dag in named:
            fleet.begin(dag, logical_date=LOGICAL_DATE)
    for dag in [*files, *DECLARED]:
        if dag in named and dag not in FIRST and not dag.startswith(LATER):
            fleet.begin(dag)
    return fleet
