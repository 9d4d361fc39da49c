"""How long the DAG file of N jobs takes: YAML into DAGs, beside DAGs written by hand and beside dag-factory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import FOLDER, Report, main, ratio, spread
from bench.stage import folder

PARSER = Path(__file__).with_name("parse_file.py")
DAG_FACTORY = FOLDER / "dag-factory/bin/python"
#: What `SupervisorDAG` makes of a job, one after the other; how many of them are setups and teardowns.
STEPS = ("configure", "supervisord", "start", "watch", "restart", "stop", "daemon", "remove")
JOB = """\
defaults:
  - policy: batch
host: trading
description: Prices of venue {number}
command: python3 -m feed --venue v{number} --day {{{{ ds }}}}
directory: ~/feeds
environment:
  VENUE: v{number}
  LOG_LEVEL: info
schedule: "{minute} 8 * * 1-5"
start_date: 2026-01-01
runtime: 8h
retries: 1
tags: [feeds]
"""
HOST = "hostname: trading-1.example.com\nusername: feeds\n"
OURS = "from airflow_supervisor_jobs import build_dags\n\nbuild_dags(globals())\n"
BY_HAND = """\
from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
"""
BY_HAND_DAG = """
with DAG(
    "job{number}",
    description="Prices of venue {number}",
    schedule="{minute} 8 * * 1-5",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags={{"feeds"}},
) as dag_{number}:
    environment = {{"VENUE": "v{number}", "LOG_LEVEL": "info"}}
{tasks}
    {chain}
"""
BY_HAND_TASK = (
    '    {step} = BashOperator(task_id="{step}", bash_command="feed {step} v{number}", env=environment, retries=1)'
)
FACTORY = """\
from dagfactory import load_yaml_dags  # makes DAGs for airflow

load_yaml_dags(globals(), dags_folder={here!r})
"""


def write_ours(place: Path, jobs: int) -> Path:
    """Return the DAG file of so many jobs in YAML."""
    for group in ("job", "host"):
        (place / "configs" / group).mkdir(parents=True)
    (place / "configs/host/trading.yaml").write_text(HOST)
    for number in range(jobs):
        (place / f"configs/job/job{number}.yaml").write_text(JOB.format(number=number, minute=number % 60))
    return written(place / "jobs.py", OURS)


def write_by_hand(place: Path, jobs: int) -> Path:
    """Return a DAG file with so many DAGs."""
    return written(place / "jobs.py", BY_HAND + "".join(map(by_hand, range(jobs))))


def by_hand(number: int) -> str:
    """Return one DAG in Python."""
    tasks = "\n".join(BY_HAND_TASK.format(step=step, number=number) for step in STEPS)
    return BY_HAND_DAG.format(number=number, minute=number % 60, tasks=tasks, chain=" >> ".join(STEPS))


def write_factory(place: Path, jobs: int) -> Path:
    """Return a DAG file that has dag-factory make so many DAGs, from a YAML file each."""
    (place / "yaml").mkdir()
    for number in range(jobs):
        # JSON is YAML.
        (place / f"yaml/job{number}.yaml").write_text(json.dumps({f"job{number}": factory_dag(number)}, indent=1))
    return written(place / "jobs.py", FACTORY.format(here=str(place / "yaml")))


def factory_dag(number: int) -> dict[str, Any]:
    """Return one DAG in dag-factory's words."""
    tasks = []
    for before, step in zip((None, *STEPS), STEPS, strict=False):
        task = {
            "task_id": step,
            "operator": "airflow.providers.standard.operators.bash.BashOperator",
            "bash_command": f"feed {step} v{number}",
            "env": {"VENUE": f"v{number}", "LOG_LEVEL": "info"},
            "dependencies": [before] if before else [],
        }
        tasks.append(task)
    return {
        "default_args": {"start_date": "2026-01-01", "retries": 1},
        "schedule": f"{number % 60} 8 * * 1-5",
        "description": f"Prices of venue {number}",
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["feeds"],
        "tasks": tasks,
    }


def written(path: Path, text: str) -> Path:
    """Return the path, once the text is there."""
    path.write_text(text)
    return path


def parse(file: Path, *modules: str, times: int = 1, python: Path | str = sys.executable, **environ: str) -> Any:
    """Return what the parser says, of a process of its own."""
    home = file.parent / "airflow"
    home.mkdir(exist_ok=True)
    (home / "webserver").mkdir(exist_ok=True)
    done = subprocess.run(
        [str(python), "-W", "ignore", str(PARSER), str(file), str(times), *modules],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "HOME": str(home),
            "SUPERVISOR_JOBS_CACHE": str(home / "cache"),
            "DO_NOT_TRACK": "1",
            **environ,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


Seconds = dict[str, list[float]]
OUR_MODULES = ("airflow_supervisor_jobs.dags.build",)
BASH = "airflow.providers.standard.operators.bash"


def parse_ours(jobs: int) -> Seconds:
    """Return what our DAG file takes."""
    with folder() as place:
        file = write_ours(place, jobs)
        first = checked(parse(file, *OUR_MODULES, times=2), jobs)
        second = checked(parse(file, *OUR_MODULES), jobs)
        wanted = {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": f"job{jobs // 2}", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "watch"}
        task = parse(file, *OUR_MODULES, **wanted)
    return {
        "first process": [first["s"][0]],
        "next process": [second["s"][0]],
        "same process again": [first["s"][1]],
        "a task's own": [task["s"][0]],
        "imports": [second["imports"]],
    }


def parse_by_hand(jobs: int) -> Seconds:
    """Return what the hand-written one takes."""
    with folder() as place:
        return parse_others(write_by_hand(place, jobs), BASH, jobs=jobs)


def parse_factory(jobs: int) -> Seconds:
    """Return what dag-factory's takes; nothing where it is not installed."""
    if not DAG_FACTORY.exists():
        return {}
    with folder() as place:
        return parse_others(write_factory(place, jobs), BASH, "dagfactory", jobs=jobs, python=DAG_FACTORY)


def parse_others(file: Path, *modules: str, jobs: int, **how: Any) -> Seconds:
    """Return what another DAG file takes."""
    first = checked(parse(file, *modules, times=2, **how), jobs)
    second = checked(parse(file, *modules, **how), jobs)
    return {
        "first process": [first["s"][0]],
        "next process": [second["s"][0]],
        "same process again": [first["s"][1]],
        "imports": [second["imports"]],
    }


def checked(said: Any, jobs: int) -> Any:
    """Return what the parser said, if it made all the DAGs that there are to be made."""
    if (said["dags"], said["tasks"]) != (jobs, jobs * len(STEPS)):
        raise RuntimeError(f"{jobs} DAGs of {len(STEPS)} tasks were expected, and there are {said}")
    return said


KINDS: dict[str, Callable[[int], Seconds]] = {
    "airflow-supervisor-jobs": parse_ours,
    "by hand": parse_by_hand,
    "dag-factory": parse_factory,
}


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("parsing", quick)
    runs = {1: 1, 10: 1} if quick else {1: 5, 100: 3, 1000: 1}
    columns = ("first process", "next process", "same process again", "a task's own", "imports")
    table = report.table("From files to DAGs, s", "jobs", "how", *columns, "next process, times by hand")
    for jobs, times in runs.items():
        found = {name: together([kind(jobs) for _ in range(times)]) for name, kind in KINDS.items()}
        floor = found["by hand"]["next process"]
        for name, seconds in found.items():
            cells = (spread(seconds.get(column, ())) for column in columns)
            table.rows.append((str(jobs), name, *cells, ratio(seconds.get("next process", ()), floor)))
        report.figures[str(jobs)] = found
    if not DAG_FACTORY.exists():
        report.notes.append("dag-factory could not be installed, and so was not measured.")
    report.notes.append("*A task's own*: what a running task waits for, which needs the DAG of its own job alone.")
    report.notes.append("*Imports*: of the package that makes the DAGs; once a process.")
    return report


def together(found: Sequence[Mapping[str, list[float]]]) -> Seconds:
    """Return the seconds of all runs, by column."""
    return {column: [value for run in found for value in run[column]] for column in found[0]}


if __name__ == "__main__":
    main(measure)
