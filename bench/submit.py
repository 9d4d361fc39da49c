"""A job of 20 s on a real Airflow: from the trigger to its first instruction, and from its end to the run's end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.peer import PATH, free_ports, packages
from bench.processes import cpu_s, pss_bytes
from bench.report import Report, digits, main, ratio, spread
from bench.stage import folder
from tests.services.airflow import Airflow
from tests.services.airflow_api import ENDED_RUN
from tests.services.sshd import OpenSSH

OURS, THEIRS, OTHER = "airflow-supervisor-jobs", "SSHRemoteJobOperator", "airflow-supervisor"
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
OTHER_DAG = """\
import sys

sys.path.append({packages!r})
from airflow.sdk import DAG
from airflow_supervisor import SupervisorSSH, SupervisorSSHAirflowConfiguration

for name, (command, port) in {jobs!r}.items():
    with DAG(name, schedule=None) as dag:
        configuration = SupervisorSSHAirflowConfiguration(
            host="127.0.0.1",
            port=f"127.0.0.1:{{port}}",
            working_dir=f"{place}/{{name}}-home",
            config_path=f"{place}/{{name}}-home/supervisor.cfg",
            program={{name: {{"command": command}}}},
            command_prefix="export PATH={path}:$PATH",
            ssh_operator_args={{"ssh_conn_id": "site"}},
        )
        SupervisorSSH(dag=dag, cfg=configuration)
    globals()[name] = dag
"""
#: By system: its DAG, and the task that waits for the program.
DAGS = {OURS: ("ours", "watch_programs"), THEIRS: ("theirs", "job"), OTHER: ("other", "other-check-programs")}
#: Jobs that wait side by side.
WAITING = 4
WAITING_COMMAND = "sleep 3600"
MB = 1024 * 1024
#: Of LocalExecutor's processes, those with a task.
BUSY = re.compile(r"LocalExecutor: (?!<idle>)|airflow task")
QUIET_S, QUIET_LIMIT_S = 4.0, 60.0
WINDOW_S = 15.0


def write_dags(place: Path, server: OpenSSH, *, seconds: int) -> Path:
    """Return the folder of the DAG files: of each system a job of so many seconds, and some that wait."""
    dags = place / "dags"
    for group in ("job", "host"):
        (dags / "configs" / group).mkdir(parents=True)
    say = {name: f"date +%s.%N >> {place}/{dag}" for name, (dag, _) in DAGS.items()}
    words = {name: f"sh -c '{moment}; sleep {seconds}; {moment}'" for name, moment in say.items()}
    (dags / "configs/host/site.yaml").write_text(json.dumps({**server.host(), "root": str(place / "r")}))
    ours = {DAGS[OURS][0]: words[OURS]} | {waiting_dag(OURS, number): WAITING_COMMAND for number in range(WAITING)}
    for name, command in ours.items():
        (dags / f"configs/job/{name}.yaml").write_text(JOB.format(command=json.dumps(command)))
    (dags / "ours.py").write_text(OUR_DAGS)
    (dags / "theirs.py").write_text(THEIR_DAG.format(command=words[THEIRS], place=str(place / "jobs")))
    return dags


def write_other(dags: Path, place: Path, *, seconds: int) -> None:
    """The DAGs of airflow-supervisor are there, too.

    :raises NotInstalled: it is not.
    """
    # supervisord reads `%` as the beginning of a name.
    moment = f"date +%%s.%%N >> {place}/{DAGS[OTHER][0]}"
    commands = {DAGS[OTHER][0]: f"sh -c '{moment}; sleep {seconds}; {moment}'"}
    commands |= {waiting_dag(OTHER, number): WAITING_COMMAND for number in range(WAITING)}
    jobs = dict(zip(commands, zip(commands.values(), free_ports(len(commands)), strict=True), strict=True))
    (dags / "other.py").write_text(OTHER_DAG.format(packages=packages(), jobs=jobs, place=place, path=PATH))


def waiting_dag(system: str, number: int) -> str:
    """Return the id of a DAG whose job waits."""
    return f"{DAGS[system][0]}_waits_{number}"


def play(airflow: Airflow, place: Path, system: str) -> dict[str, Any]:
    """Return the times of one run: seconds since the trigger, by step too, and how long slots were held."""
    dag_id, waiting = DAGS[system]
    began = time.time()
    run_id = trigger(airflow, dag_id)
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
    lines = (place / dag_id).read_text().split() if (place / dag_id).exists() else []
    if len(lines) % 2 or not lines or (run["state"] != "success" and system != OTHER):
        raise RuntimeError(f"{dag_id} ended as {run['state']}: {airflow.api.log_lines(dag_id, run_id, waiting)[-20:]}")
    first, last_words = map(float, lines[-2:])
    steps = {name: times(task) for name, task in tasks.items() if task["start_date"] and task["state"] != "skipped"}
    return {
        "state": run["state"],
        "submit": first - began,
        "watch ends": epoch(tasks[waiting]["end_date"]) - last_words,
        "run ends": epoch(run["end_date"]) - last_words,
        "slots": slots_s,
        "steps": {name: (queued, started, ended, began) for name, (queued, started, ended) in steps.items()},
        "parts": {name: parts_s(airflow, (dag_id, run_id), name, times=each) for name, each in steps.items()},
        "first": first,
        "last": last_words,
    }


def trigger(airflow: Airflow, dag_id: str) -> str:
    """Return the id of a new run; airflow-supervisor needs one that has a date."""
    now = datetime.now(timezone.utc).isoformat()
    return airflow.api.trigger(dag_id, logical_date=now if dag_id.startswith(DAGS[OTHER][0]) else None)


def times(task: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return when a task was queued, started and ended."""
    return epoch(task["queued_when"] or task["start_date"]), epoch(task["start_date"]), epoch(task["end_date"])


def epoch(moment: str) -> float:
    """Return the seconds since the epoch."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


#: What a task's time goes to, told by what stands in its log.
PARTS = ("waits for a worker", "Airflow begins", "its DAG file is parsed", "its own work", "Airflow ends")
PARSED, OWN_BEGINS, OWN_ENDS = "Worker startup parse complete", "::endgroup::", "::group::Post Execute"


def parts_s(airflow: Airflow, run: tuple[str, str], task_id: str, *, times: tuple[float, ...]) -> dict[str, float]:
    """Return the seconds of each part of a task, up to its deferral if it defers; nothing of what its log lacks."""
    path = f"dags/{run[0]}/dagRuns/{run[1]}/taskInstances/{task_id}/logs/1"
    told = airflow.api.call("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})
    lines = [line for line in told["content"] if isinstance(line, dict) and line.get("timestamp")]
    parsed = next((line for line in lines if line["event"] == PARSED), None)
    begins = next((epoch(line["timestamp"]) for line in lines if line["event"] == OWN_BEGINS), None)
    ends = next((epoch(line["timestamp"]) for line in lines if line["event"] == OWN_ENDS), None)
    if parsed is None or begins is None or ends is None:
        return {}
    over = next(at for line in lines if line["event"] == OWN_BEGINS and (at := epoch(line["timestamp"])) >= ends)
    queued, started, _ = times
    parsing = parsed["dag_file_parse_ms"] / 1000
    seconds = (started - queued, begins - started - parsing, parsing, ends - begins, over - ends)
    return dict(zip(PARTS, seconds, strict=True))


def part_rows(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, ...]]:
    """Return for each system and task how long each part of it took."""
    rows = []
    for system, runs in found.items():
        steps = runs[0]["steps"] if runs else {}
        for name in sorted(steps, key=lambda name: steps[name][1]):
            told = [parts for run in runs if (parts := run["parts"].get(name))]
            cells = [spread([parts[part] for parts in told]) for part in PARTS]
            rows.append((system, name, *cells))
    return rows


def waiting(airflow: Airflow, *, seconds: float) -> dict[str, float]:
    """Return what all of Airflow costs for so many seconds."""
    pids = list(airflow.processes())
    before = cpu_s(pids)
    time.sleep(seconds)
    return {
        "cpu_s_a_minute": (cpu_s(pids) - before) * 60 / seconds,
        "memory": pss_bytes(pids),
        "processes": len(pids),
    }


def wait_side_by_side(airflow: Airflow, system: str, *, seconds: float) -> dict[str, float]:
    """Return what Airflow costs while jobs of this system wait; they have ended for Airflow afterwards."""
    dags = [waiting_dag(system, number) for number in range(WAITING)]
    runs = [(dag_id, trigger(airflow, dag_id)) for dag_id in dags]
    waits = {OURS: "watch_programs"}
    for dag_id, run_id in runs:
        task_id = waits.get(system, f"{dag_id}-check-programs")
        airflow.api.wait_for_task(dag_id, run_id, task_id, {"running", "deferred"}, timeout=LIMIT_S)
    # What the start has left to do is done.
    until_quiet(airflow)
    states = [airflow.api.tasks(*run) for run in runs]
    slots = sum(task["state"] == "running" for tasks in states for task in tasks.values())
    cost = waiting(airflow, seconds=seconds)
    for run in runs:
        airflow.api.mark_run(*run, "failed")
    return {**cost, "slots": slots}


def until_quiet(airflow: Airflow) -> None:
    """No worker has begun or ended anything for a few seconds; or the time is over."""
    deadline, since, seen = time.monotonic() + QUIET_LIMIT_S, time.monotonic(), workers(airflow)
    while time.monotonic() - since < QUIET_S and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        if (now := workers(airflow)) != seen:
            since, seen = time.monotonic(), now


def workers(airflow: Airflow) -> list[str]:
    """Return what the workers say that they do."""
    return sorted(words for words in airflow.processes().values() if BUSY.search(words))


def measure(*, quick: bool) -> Report:
    """Return what was found."""
    report = Report("submit", quick)
    runs, seconds = (1, 7) if quick else (2, RUN_FOR_S)
    found: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: [], OTHER: []}
    idle: dict[str, dict[str, float]] = {}
    with folder() as place, OpenSSH(place / "s") as server:
        dags = write_dags(place, server, seconds=seconds)
        with report.attempt(OTHER):
            write_other(dags, place, seconds=seconds)
        environ = {"AIRFLOW_CONN_SITE": server.connection(), "HOME": str(place)}
        airflow = Airflow(place / "airflow", dags=dags, environ=environ)
        with ExitStack() as stack:
            # Whether each of its daemons ends by itself is no matter here.
            stack.callback(airflow.stop)
            airflow.__enter__()
            known = [name for name, (dag, _) in DAGS.items() if (dags / f"{dag}.py").exists()]
            airflow.wait_for_dags([DAGS[name][0] for name in known], timeout=LIMIT_S)
            for number in range(runs):
                # One run of airflow-supervisor takes minutes, most of them after its program's end.
                for name in known if number == 0 else (OURS, THEIRS):
                    with report.attempt(f"a run of {name}"):
                        found[name].append(play(airflow, place, name))
            until_quiet(airflow)
            idle["nothing"] = waiting(airflow, seconds=WINDOW_S)
            for name in (OURS, OTHER):
                with report.attempt(f"{WAITING} jobs of {name} that wait"):
                    idle[name] = wait_side_by_side(airflow, name, seconds=WINDOW_S)
                    until_quiet(airflow)
    add_tables(report, found, idle, seconds=seconds)
    report.figures = {"runs": found, "waiting": idle}
    return report


def add_tables(
    report: Report, found: dict[str, list[dict[str, Any]]], idle: dict[str, dict[str, float]], *, seconds: int
) -> None:
    """The report has what was found."""
    columns = ("trigger to first instruction", "end to the watch's end", "end to the run's end", "worker slots held")
    title = f"A program of {seconds} s on a real Airflow, s"
    table = report.table(title, "system", "runs", *columns, "slots, times ours", "the run ends as")
    ours = [run["slots"] for run in found[OURS]]
    for name, values in found.items():
        cells = (spread([run[key] for run in values]) for key in ("submit", "watch ends", "run ends", "slots"))
        states = ", ".join(sorted({run["state"] for run in values}))
        table.rows.append((name, str(len(values)), *cells, ratio([run["slots"] for run in values], ours), states))
    table = report.table("Where the time goes, s", "system", "task", *PARTS)
    table.rows += part_rows(found)
    columns = ("slots held", "processes of Airflow", "its CPU s a minute", "its MB", "MB more for each job")
    table = report.table(f"{WAITING} jobs that wait, side by side", "system", *columns)
    for name, cost in idle.items():
        more = (cost["memory"] - idle["nothing"]["memory"]) / MB / WAITING if name != "nothing" else 0
        cells = (
            str(cost.get("slots", 0)),
            str(cost["processes"]),
            *map(digits, (cost["cpu_s_a_minute"], cost["memory"] / MB)),
        )
        table.rows.append((name, *cells, digits(more) if name != "nothing" else "–"))
    report.notes.append(
        "A task that waits in the triggerer holds no slot: of SSHRemoteJobOperator's and of our waiting task only "
        "the parts in the worker are told."
    )
    report.notes.append(
        "airflow-supervisor: `SupervisorSSH` with its defaults, its port on the loopback. "
        "The run ends as its own DAG has it."
    )


if __name__ == "__main__":
    main(measure)
