"""One real Airflow for all end-to-end tests; every job has a run that began when it did."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import HIDDEN, TOKEN, Fleet
from tests.services.airflow import Airflow
from tests.services.processes import end_processes_of

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    # A UNIX socket's path has room for about a hundred characters.
    home = Path(tempfile.mkdtemp(prefix="asj-e2e-"))
    root = home / "host"
    environ = {
        "E2E_ROOT": str(root),
        "E2E_HIDDEN": HIDDEN,
        # What a worker has and no program may see.
        "AIRFLOW__SUPERVISOR_JOBS__CANARY": "sings",
        "AIRFLOW_VAR_E2E_TOKEN": TOKEN,
        "HOME": str(home),
    }
    shutil.copytree(HERE / "dags", home / "dags")
    shutil.copytree(HERE / "configs", home / "configs")
    try:
        with Airflow(home / "airflow", dags=home / "dags", environ=environ) as airflow:
            yield with_runs(Fleet(airflow, root), home / "configs" / "job")
    finally:
        # A watch that lives brings supervisord back: so Airflow ends first.
        left = end_processes_of(home)
    assert left == {}
    if request.session.testsfailed:
        request.config.get_terminal_writer().line(f"\nwhat this Airflow wrote is kept in {home}")
    else:
        shutil.rmtree(home)


def with_runs(fleet: Fleet, jobs: Path) -> Fleet:
    """Every job has a run; the one whose time is limited has a head start."""
    names = {path.stem for path in jobs.glob("*.yaml")}
    others = {"broken": "broken__broken", "loses_answer": "start_loses_answer"}
    dags = [others.get(name, name) for name in sorted(names - {"times_out"})]
    fleet.airflow.wait_for_dags(["times_out", *dags])
    fleet.api.trigger("times_out", run_id=fleet.run_id("times_out"))
    fleet.watching("times_out")
    for dag in dags:
        fleet.api.trigger(dag, run_id=fleet.run_id(dag))
    return fleet
