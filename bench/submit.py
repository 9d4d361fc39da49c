"""A job of 20 s on a real Airflow: from the trigger to its first instruction, and from its end to the run's end."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.dags import DAGS, OTHER, OURS, THEIRS, WAITING, waiting_dag, write_dags, write_other
from bench.processes import children, command, cpu_s, pss_bytes, tree
from bench.report import Report, digits, main, ratio, spread
from bench.stage import folder
from tests.services.airflow import DAEMONS, Airflow
from tests.services.airflow_api import ENDED_RUN
from tests.services.sshd import OpenSSH

RUN_FOR_S = 20
LIMIT_S = 300.0
LOOK_EVERY_S = 0.2
MB = 1024 * 1024
#: What a task is in: LocalExecutor's processes while they have one, and those that they start for it.
WORKER = re.compile(r"LocalExecutor: (?!<idle>)|airflow task|task runner")
QUIET_S, QUIET_LIMIT_S = 4.0, 60.0
WINDOW_S = 15.0


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
    steps = {
        name: (epoch(task["start_date"]), epoch(task["end_date"])) for name, task in tasks.items() if has_run(task)
    }
    return {
        "state": run["state"],
        "submit": first - began,
        "watch ends": epoch(tasks[waiting]["end_date"]) - last_words,
        "run ends": epoch(run["end_date"]) - last_words,
        "slots": slots_s,
        "steps": steps,
        "parts": {name: parts_s(airflow, (dag_id, run_id), name, steps=steps, began=began) for name in steps},
        "first": first,
        "last": last_words,
    }


def trigger(airflow: Airflow, dag_id: str) -> str:
    """Return the id of a new run; airflow-supervisor needs one that has a date."""
    now = datetime.now(timezone.utc).isoformat()
    return airflow.api.trigger(dag_id, logical_date=now if dag_id.startswith(DAGS[OTHER][0]) else None)


def has_run(task: Mapping[str, Any]) -> bool:
    """Return whether the task has begun, and was not skipped by another one."""
    return bool(task["start_date"] and task["end_date"] and task["start_date"] < task["end_date"])


def epoch(moment: str) -> float:
    """Return the seconds since the epoch."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


#: What a task's time goes to, told by what stands in its log.
PARTS = (
    "waits for a worker",
    "Airflow begins",
    "its DAG file is parsed",
    "its own work",
    "Airflow ends",
    "until its end is noted",
)
PARSED, GROUP_ENDS, OWN_ENDS = "Worker startup parse complete", "::endgroup::", "::group::Post Execute"


def parts_s(
    airflow: Airflow, run: tuple[str, str], task_id: str, *, steps: Mapping[str, tuple[float, float]], began: float
) -> dict[str, float]:
    """Return the seconds of each part of a task, without its waiting if it defers; nothing of what its log lacks."""
    path = f"dags/{run[0]}/dagRuns/{run[1]}/taskInstances/{task_id}/logs/1"
    told = airflow.api.call("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})
    lines = [line for line in told["content"] if isinstance(line, dict) and line.get("timestamp")]

    def at(event: str, after: float = 0) -> float:
        return next(when for line in lines if line["event"] == event and (when := epoch(line["timestamp"])) >= after)

    try:
        parsed_s = next(line["dag_file_parse_ms"] for line in lines if line["event"] == PARSED) / 1000
        begins, ends = at(GROUP_ENDS), at(OWN_ENDS)
        over = at(GROUP_ENDS, after=ends)
    except StopIteration:
        return {}
    started, ended = steps[task_id]
    before = max([began, *(end for _, end in steps.values() if end <= started)])
    noted = ended - epoch(lines[-1]["timestamp"])
    seconds = (started - before, begins - started - parsed_s, parsed_s, ends - begins, over - ends, max(0.0, noted))
    return dict(zip(PARTS, seconds, strict=True))


def part_rows(found: dict[str, list[dict[str, Any]]]) -> list[tuple[str, ...]]:
    """Return for each system and task how long each part of it took."""
    rows = []
    for system, runs in found.items():
        steps = runs[0]["steps"] if runs else {}
        for name in sorted(steps, key=lambda name: steps[name][0]):
            told = [parts for run in runs if (parts := run["parts"].get(name))]
            if not told:
                continue
            cells = [spread([parts[part] for parts in told]) for part in PARTS]
            rows.append((system, name, *cells))
    return rows


def processes() -> list[int]:
    """Return the pids of all of Airflow, which are children of ours and what descends from them."""
    of = children()
    daemons = [pid for pid in of.get(os.getpid(), ()) if "airflow" in command(pid)]
    return [pid for daemon in daemons for pid in tree(daemon, of)]


def waiting(*, seconds: float) -> dict[str, float]:
    """Return what all of Airflow costs for so many seconds."""
    pids = processes()
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
    until_quiet()
    states = [airflow.api.tasks(*run) for run in runs]
    slots = sum(task["state"] == "running" for tasks in states for task in tasks.values())
    cost = waiting(seconds=seconds)
    for run in runs:
        airflow.api.mark_run(*run, "failed")
    return {**cost, "slots": slots}


def until_quiet() -> None:
    """No worker has begun or ended anything for a few seconds; or the time is over."""
    deadline, since, seen = time.monotonic() + QUIET_LIMIT_S, time.monotonic(), workers()
    while time.monotonic() - since < QUIET_S and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        if (now := workers()) != seen:
            since, seen = time.monotonic(), now


def workers() -> list[int]:
    """Return the pids of Airflow's processes, without those that come and go by themselves."""
    return sorted(pid for pid in processes() if WORKER.search(command(pid)))


def stop(airflow: Airflow) -> None:
    """Airflow has ended; which of its processes would not, and what they said last, is told on the terminal."""
    began = time.monotonic()
    left = airflow.stop()
    print(f"Airflow has ended after {time.monotonic() - began:.0f} s")
    for process in left:
        print(f"had to be killed: {process}")
    for name in DAEMONS if left else ():
        print(f"{name}: ...{airflow.daemon_log(name).read_text(errors='replace')[-1500:]}")


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
            stack.callback(stop, airflow)
            airflow.__enter__()
            known = [name for name, (dag, _) in DAGS.items() if (dags / f"{dag}.py").exists()]
            airflow.wait_for_dags([DAGS[name][0] for name in known], timeout=LIMIT_S)
            for number in range(runs):
                # One run of airflow-supervisor takes minutes, most of them after its program's end.
                for name in known if number == 0 else (OURS, THEIRS):
                    with report.attempt(f"a run of {name}"):
                        found[name].append(play(airflow, place, name))
            until_quiet()
            idle["nothing"] = waiting(seconds=WINDOW_S)
            for name in (OURS, OTHER):
                with report.attempt(f"{WAITING} jobs of {name} that wait"):
                    idle[name] = wait_side_by_side(airflow, name, seconds=WINDOW_S)
                    until_quiet()
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
        "*Until its end is noted*: Airflow looks at times only every five seconds whether a task's process is gone "
        "(`[workers] min_heartbeat_interval`), and notes a skip or a failure no sooner. "
        "`restart_programs` skips itself where there is nothing to restart."
    )
    report.notes.append(
        "airflow-supervisor: `SupervisorSSH` with its defaults, its port on the loopback. "
        "The run ends as its own DAG has it."
    )


if __name__ == "__main__":
    main(measure)
