"""Three jobs on a real Airflow, one here and two over a real SSH connection; exit 0 only if all is as it must be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from airflow_supervisor_jobs import load_job
from demo.check import Expected, faults
from demo.show import Run, result_table
from demo.stage import FOLDER, TREE, Stage, left_over, open_stage

JOBS = {
    "local_ticker": Expected("success", "success", {"local_ticker": 0}, said=("[local_ticker] tick 10 of 10",)),
    "remote_pair": Expected(
        "success",
        "success",
        {"fetch": 0, "store": 0},
        said=("[fetch] fetched part 5 of 5", "[store:stderr] no more parts"),
    ),
    "remote_failure": Expected(
        "failed", "failed", {"remote_failure": 3}, said=("exited with 3", "the order book is corrupt")
    ),
}
LONGEST_RUN = 170.0
#: Columns that the table needs.
NARROWEST = 110


def main() -> int:
    """Play, and return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    console.width = max(console.width, NARROWEST)
    started = time.monotonic()
    connection = load_job("remote_pair", config_dir=TREE / "configs").host.ssh_conn_id
    assert connection is not None  # noqa: S101 -- our own file
    console.print(f"Starting Airflow and an SSH server in {FOLDER} (half a minute) …")
    with open_stage(connection) as stage:
        _introduce(stage, console)
        runs = _play(stage, console)
        found = [fault for run in runs for fault in faults(run, JOBS[run.job])]
        console.print(result_table(runs))
        if os.environ.get("KEEP"):
            _keep(stage, console)
    found += left_over(stage)
    for fault in found:
        console.print(f"[red]✗[/] {escape(fault)}")
    if not found:
        console.print(f"[green]✓[/] All as it must be, and nothing left running. {time.monotonic() - started:.0f} s.")
    return 1 if found else 0


def _introduce(stage: Stage, console: Console) -> None:
    server = stage.server
    kind = "OpenSSH" if stage.is_openssh else "the embedded SSH server (OpenSSH's sshd is not installed)"
    console.print(f"Airflow is up at {stage.airflow.url}; {kind} listens on {server.hostname}:{server.port}.")


def _play(stage: Stage, console: Console) -> list[Run]:
    """Every job has had a run that has ended."""
    api = stage.airflow.api
    stage.airflow.wait_for_dags(JOBS)
    runs = [Run(api, console, job, api.trigger(job)) for job in JOBS]
    deadline = time.monotonic() + LONGEST_RUN
    asked = False
    while not all(run.has_ended for run in runs):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not over after {LONGEST_RUN:.0f} s: {[(run.job, run.state) for run in runs]}")
        for run in runs:
            run.follow()
        if not asked and all(_is_watched(run) for run in runs[:2]):
            asked = True
            _ask_supervisorctl(stage, console)
        time.sleep(0.4)
    for run in runs:
        run.follow()
        run.read_records()
    return runs


def _is_watched(run: Run) -> bool:
    return bool(run.tasks) and run.tasks["watch_programs"]["state"] == "deferred"


def _ask_supervisorctl(stage: Stage, console: Console) -> None:
    """Show what an operator sees on the two hosts."""
    for where, root in stage.roots.items():
        command = [str(root / "bin" / "supervisorctl"), "status"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        console.print(f"[bold]supervisorctl status[/], {where}:")
        console.print(escape(done.stdout.rstrip() or done.stderr.rstrip()), highlight=False)


def _keep(stage: Stage, console: Console) -> None:
    airflow = stage.airflow
    console.print(f"\nAirflow stays up: [bold]{airflow.url}[/]  user [bold]{airflow.username}[/]", highlight=False)
    console.print(f"password [bold]{airflow.password}[/]   (Ctrl-C ends it)", highlight=False)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Ending …")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
