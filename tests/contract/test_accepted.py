"""A real supervisord takes what we write of every kind of section, and runs it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.config import Job
from tests.services.host import OWNER, Host, wait_for

HOLD = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
LISTEN = """
import sys
while True:
    sys.stdout.write("READY\\n")
    sys.stdout.flush()
    head = dict(word.split(":") for word in sys.stdin.readline().split())
    sys.stderr.write(head["eventname"] + " " + sys.stdin.read(int(head["len"])) + "\\n")
    sys.stderr.flush()
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""


def everything(folder: Path) -> dict[str, Any]:
    log = {"stdout_logfile": f"{folder}/100% é-%(process_num)d.log", "stdout_logfile_maxbytes": "1KB"}
    return {
        "programs": {
            "shards": {"command": HOLD, "numprocs": 2, "numprocs_start": 3, "priority": 5, "umask": "027", **log},
            "first": {"command": HOLD, "process_name": "%(group_name)s-%(program_name)s", "stopsignal": "INT"},
            "copied": {"command": HOLD, "stdout_events_enabled": True, "redirect_stderr": True},
            "plain": {"command": HOLD, "serverurl": "http://localhost:1/100%"},
        },
        "groups": {"pair": {"programs": ["first", "copied"], "priority": 2}},
        "event_listeners": {"ear": {"command": [sys.executable, "-c", LISTEN], "events": "PROCESS_STATE_RUNNING"}},
        "fcgi_programs": {"web": {"command": HOLD, "socket": f"unix://{folder}/web.sock", "numprocs": 2}},
        "host": {"root": str(folder / "r"), "supervisord": {"minfds": 512, "environment": {"FROM_DAEMON": "100%"}}},
    }


async def test_supervisord_takes_every_kind_of_section(root: Path) -> None:
    heard = root / "jobs/job/ear/stderr.log"
    async with Host(root) as host:
        job = Job.model_validate({"name": "job", **everything(root.parent)})
        await host.install(**job.model_dump())
        await host.start()
        running = await host.wait(lambda seen: all(each["state"] == "RUNNING" for each in seen.values()))
        assert {(each["group"], each["process"]) for each in running.values()} == {
            (each.group, each.process) for each in job.processes
        }
        assert running["shards_03"]["stdout"] == f"{root.parent}/100% é-3.log"
        await wait_for(lambda: "PROCESS_STATE_RUNNING" in heard.read_text(), "the listener hears of a start")
        await host.stop()
        ended = await host.wait(lambda seen: all(each["pid"] is None for each in seen.values()))
        assert ended["job.pair-first"]["signal"] == signal.SIGINT
        await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
        await host.pipe.request("stop_supervisord", job="job", owner=OWNER)
