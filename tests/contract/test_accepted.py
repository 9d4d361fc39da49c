"""A real supervisord takes what we write of every kind of section, and runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow_supervisor_jobs.config import Job
from tests.services.host import OWNER, Host

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
    async with Host(root) as host:
        job = Job.model_validate({"name": "job", **everything(root.parent)})
        await host.install(**{name: getattr(job, name) for name in Job.model_fields if name not in ("name", "source")})
        await host.start()
        running = await host.wait(lambda seen: all(each["state"] == "RUNNING" for each in seen.values()))
        assert {(each["group"], each["process"]) for each in running.values()} == {
            (each.group, each.process) for each in job.processes
        }
        assert running["shards_03"]["stdout"] == f"{root.parent}/100% é-3.log"
        heard = await host.wait(lambda _: (root / "jobs/job/ear/stderr.log").read_text().count("PROCESS_STATE_RUNNING"))
        assert heard
        await host.stop()
        ended = await host.wait(lambda seen: all(each["pid"] is None for each in seen.values()))
        assert ended["first" if "first" in ended else "job.pair-first"]["signal"] == 2
        await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
        await host.pipe.request("stop_supervisord", job="job", owner=OWNER)
