"""A job of 20 s on a real Airflow: from the trigger to its first instruction, and from its end to the run's end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.report import Report, main, ratio, spread
from bench.stage import folder
from tests.services.airflow import Airflow
from tests.services.airflow_api import ENDED_RUN
from tests.services.sshd import OpenSSH

OURS, THEIRS = "airflow-supervisor-jobs", "SSHRemoteJobOperator (default)"
RUN_FOR_S = 20
LIMIT_S = 300.0
LOOK_EVERY_S = 0.2
JOB = """\
host: site
command: {command}
"""
OUR_DAGS = """\
from airflow_supervisor_jobs import build_dags

build_dags(globals())
"""
THEIR_DAG = """\
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

with DAG("theirs", schedule=None) as dag:
    SSHRemoteJobOperator(task_id="job", ssh_conn_id="site", command={command!r}, remote_base_dir={place!r})
"""
#: By system: its DAG, and the task that waits for the program.
DAGS = {OURS: ("ours", "watch_programs"), THEIRS: ("theirs", "job")}


def write_dags(place: Path, server: OpenSSH, *, seconds: int) -> Path:
    """Return the folder of the DAG files."""
    dags = place / "dags"
    for group in ("job", "host"):
        (dags / "configs" / group).mkdir(parents=True)
    say = {name: f"date +%s.%N >> {place}/{dag}" for name, (dag, _) in DAGS.items()}
    words = {name: f"sh -c '{moment}; sleep {seconds}; {moment}'" for name, moment in say.items()}
    (dags / "configs/host/site.yaml").write_text(json.dumps({**server.host(), "root": str(place / "r")}))
    (dags / "configs/job/ours.yaml").write_text(JOB.format(command=json.dumps(words[OURS])))
    (dags / "ours.py").write_text(OUR_DAGS)
    (dags / "theirs.py").write_text(THEIR_DAG.format(command=words[THEIRS], place=str(place / "jobs")))
    return dags


def play(airflow: Airflow, place: Path, system: str) -> dict[str, Any]:
    """Return the times of one run: seconds since the trigger, by step too, and how long slots were held."""
    dag_id, waiting = DAGS[system]
    began = time.time()
    run_id = airflow.api.trigger(dag_id)
    slots_s, last = 0.0, time.time()
    deadline = time.monotonic() + LIMIT_S
    while True:
        tasks = airflow.api.tasks(dag_id, run_id)
        now = time.time()
        slots_s += (now - last) * sum(task["state"] == "running" for task in tasks.values())
        last = now
        if airflow.api.run(dag_id, run_id)["state"] in ENDED_RUN:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{dag_id} has not ended; its tasks: {airflow.api.states(dag_id, run_id)}")
        time.sleep(LOOK_EVERY_S)
    run = airflow.api.run(dag_id, run_id)
    if run["state"] != "success":
        raise RuntimeError(f"{dag_id} ended as {run['state']}: {airflow.api.log_lines(dag_id, run_id, waiting)[-20:]}")
    first, last_words = (float(line) for line in (place / dag_id).read_text().split()[-2:])
    steps = {name: times(task) for name, task in tasks.items() if task["start_date"] and task["state"] != "skipped"}
    return {
        "submit": first - began,
        "watch ends": epoch(tasks[waiting]["end_date"]) - last_words,
        "run ends": epoch(run["end_date"]) - last_words,
        "slots": slots_s,
        "steps": {name: (queued, started, ended, began) for name, (queued, started, ended) in steps.items()},
        "first": first,
        "last": last_words,
    }


def times(task: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return when a task was queued, started and ended."""
    return epoch(task["queued_when"] or task["start_date"]), epoch(task["start_date"]), epoch(task["end_date"])


def epoch(moment: str) -> float:
    """Return the seconds since the epoch."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def step_rows(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return for each step how long it waited for a worker after the step before it, and how long it ran."""
    names = sorted(found[0]["steps"], key=lambda name: found[0]["steps"][name][1])
    rows, before = [], None
    for name in names:
        waited, ran = [], []
        for run in found:
            _, started, ended, began = run["steps"][name]
            waited.append(started - (run["steps"][before][2] if before else began))
            ran.append(ended - started)
        rows.append((name, spread(waited), spread(ran)))
        before = name
    return rows


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("submit", quick)
    runs, seconds = (1, 7) if quick else (3, RUN_FOR_S)
    found: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
    with folder() as place, OpenSSH(place / "s") as server:
        dags = write_dags(place, server, seconds=seconds)
        environ = {"AIRFLOW_CONN_SITE": server.connection(), "HOME": str(place)}
        airflow = Airflow(place / "airflow", dags=dags, environ=environ)
        with ExitStack() as stack:
            # Whether each of its daemons ends by itself is no matter here.
            stack.callback(airflow.stop)
            airflow.__enter__()
            airflow.wait_for_dags([dag for dag, _ in DAGS.values()])
            for _ in range(runs):
                for name, runs_of in found.items():
                    runs_of.append(play(airflow, place, name))
    columns = ("trigger to first instruction", "end to the watch's end", "end to the run's end", "worker slots held")
    table = report.table(f"A program of {seconds} s on a real Airflow, s", "system", *columns, "slots, times ours")
    ours = [run["slots"] for run in found[OURS]]
    for name, values in found.items():
        cells = (spread([run[key] for run in values]) for key in ("submit", "watch ends", "run ends", "slots"))
        table.rows.append((name, *cells, ratio([run["slots"] for run in values], ours)))
    columns = ("task", "waited, from the end of the one before", "from its start to its end")
    table = report.table("The steps of our run, s", *columns)
    table.rows += step_rows(found[OURS])
    report.notes.append(f"{runs} runs each, in turn. A task that waits in the triggerer holds no slot.")
    report.figures = found
    return report


if __name__ == "__main__":
    main(measure)
