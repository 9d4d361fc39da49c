"""Measure what a hundred runners cost: memory by PSS, and the time from the order to the program's first line.

python -m bench.runner_memory [NUMBER]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from airflow_supervisor_jobs.config import Job, render_spec
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.connect import open_pipe

OWNER = {"deployment": "bench"}
PRINT_THE_TIME = ["sh", "-c", "date +%s.%N; exec sleep 600"]


def pss_kib(pid: int) -> int:
    """Return the process's proportional share of memory."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))


async def measure(number: int, root: Path) -> None:
    """Start the job, look, stop it."""
    job = Job.model_validate({"name": "bench", "programs": {"p": {"command": PRINT_THE_TIME, "numprocs": number}}})
    async with open_pipe(HostSettings(host="here", root=str(root))) as pipe:
        await pipe.request("install", spec=render_spec(job), owner=OWNER, if_running="fail")
        began = time.time()
        supervisord = (await pipe.request("start_supervisord", job="bench"))["pid"]
        print(f"supervisord answers after        {(time.time() - began) * 1000:8.0f} ms")
        began = time.time()
        started = await pipe.request("start", job="bench", owner=OWNER, programs=None, if_running="fail", by="bench")
        print(f"{number:5} programs started within     {(time.time() - began) * 1000:8.0f} ms")
        sizes = [pss_kib(one["runner_pid"]) for one in started["processes"]]
        firsts = [float((root / f"jobs/bench/{one['process']}/stdout.log").read_text()) for one in started["processes"]]
        orders = [one["started_at"] for one in started["processes"]]
        delays = [first - order for first, order in zip(firsts, orders, strict=True)]
        print(f"runner, PSS, median              {statistics.median(sizes):8.0f} KiB")
        print(f"supervisord, PSS                 {pss_kib(supervisord):8.0f} KiB")
        print(f"runner up to first line, median  {statistics.median(delays) * 1000:8.1f} ms")
        await pipe.request("stop", job="bench", owner=OWNER, programs=None, by="bench", reason="stopped")
        await pipe.request("stop_supervisord", job="bench", owner=OWNER)


def main() -> None:
    """Run with the number of programs that the command line gives, 100 by default."""
    with tempfile.TemporaryDirectory(prefix="sj", dir="/tmp") as folder:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100, Path(folder) / "r"))


if __name__ == "__main__":
    main()
