"""Jobs that a sweep has to tell apart, and the sweep, on a host that the test starts and stops."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import airflow_supervisor_jobs
from airflow_supervisor_jobs import Host, SupervisorDAG, SupervisorOrphansDAG

HOME = Path(os.environ["E2E_ROOT"]).parent
PROGRAM = Path(airflow_supervisor_jobs.__file__).parents[1] / "tests/programs/scripted_job.py"
HOST = Host(name="away", ssh_conn_id="orphans_away", root=str(HOME / "away"))


def job(name: str, **more: Any) -> dict[str, Any]:
    ledger = str(HOME / f"{name}.jsonl")
    command = [sys.executable, "-S", str(PROGRAM), "--ledger", ledger, "--run-for", "900", "--children", "1"]
    return {"name": name, "command": command, "host": HOST.model_dump(mode="json", exclude_defaults=True), **more}


timed_out = SupervisorDAG(job=job("orphan_times_out"), dagrun_timeout=timedelta(seconds=100))
goes_on = SupervisorDAG(job=job("orphan_goes_on"))
outlives = SupervisorDAG(job=job("orphan_outlives", stop_on_exit=False, runtime=1))
bereft = SupervisorDAG(job=job("orphan_bereft", watch="reschedule", check_interval=600))

sweep = SupervisorOrphansDAG(
    "orphan_sweep",
    hosts=[HOST],
    dag_ids=["orphan_goes_on", "orphan_bereft"],
    schedule=None,
    confirm_after=1,
    default_args={"retries": 0},
)
