"""One real Airflow for all end-to-end tests; every job has a run that began when it did."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import HIDDEN, TOKEN, Fleet, processes_of
from tests.services.airflow import Airflow
from tests.services.airflow_api import wait_until

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
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
    with Airflow(home / "airflow", dags=home / "dags", environ=environ) as airflow:
        fleet = Fleet(airflow, root)
        jobs = sorted(path.stem for path in (home / "configs" / "job").glob("*.yaml"))
        dags = ["broken__broken" if job == "broken" else job for job in jobs]
        airflow.wait_for_dags(dags)
        for dag in dags:
            airflow.api.trigger(dag, run_id=fleet.run_id(dag))
        yield fleet
        # The orphan of the timed-out run is what its test is about.
        _end_orphans(root)
    shutil.rmtree(home)


def _end_orphans(root: Path) -> None:
    supervisorctl = root / "bin" / "supervisorctl"
    if (root / "supervisord.pid").exists():
        subprocess.run([supervisorctl, "shutdown"], check=False, capture_output=True)
    wait_until(lambda: processes_of(root), lambda left: not left, timeout=30)
