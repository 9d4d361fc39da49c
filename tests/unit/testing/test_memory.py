"""The in-memory host beyond the contract: what a user's own tests tell it to do."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.testing import MemoryHost, MemoryPipe, Script

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "hosts.md"
SPEC = {"job": "j", "hash": "1", "processes": [{"process": "p", "program": "p", "group": "j"}]}


async def running(host: MemoryHost, pipe: MemoryPipe) -> None:
    await pipe.request("install", spec=SPEC, owner=None, if_running="adopt")
    await pipe.request("start_supervisord", job="j")
    await pipe.request("start", job="j", owner=None, programs=None, if_running="adopt")
    assert host.process("j", "p").is_running


async def test_the_guides_example_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    subprocess.run([sys.executable, "-W", "error", "-c", example], check=True, timeout=60)


async def test_a_program_writes_and_ends_when_it_is_told() -> None:
    host = MemoryHost(scripts={"p": Script(holds=True)}, clock=lambda: 1000.0)
    async with MemoryPipe(host) as pipe:
        await running(host, pipe)
        host.write("j", "p", "a line\n")
        host.write("j", "p", b"\xff", stream="stderr")
        host.end("j", "p", exit_code=1)
        status = (await pipe.request("status", job="j"))["jobs"][0]["processes"][0]
        assert (status["phase"], status["state"], status["exit_code"], status["ended_at"]) == (
            "ended",
            "EXITED",
            1,
            1000.0,
        )
        log = await pipe.request("logs", job="j", process="p", stream="stdout", generation=1)
        assert [base64.b64decode(chunk["data"]) for chunk in log["chunks"]] == [b"a line\n"]


async def test_a_reboot_loses_the_record() -> None:
    host = MemoryHost(scripts={"p": Script(holds=True)})
    async with MemoryPipe(host) as pipe:
        await running(host, pipe)
        host.process("j", "p").lose()
        status = (await pipe.request("status", job="j"))["jobs"][0]["processes"][0]
        assert (status["phase"], status["record"], status["pid"]) == ("lost", None, None)


async def test_without_purge_logs_outlive_the_job_and_come_back_with_it() -> None:
    host = MemoryHost(scripts={"p": Script(lines=("one",))})
    async with MemoryPipe(host) as pipe:
        await pipe.request("install", spec=SPEC, owner=None, if_running="adopt")
        await pipe.request("start_supervisord", job="j")
        await pipe.request("start", job="j", owner=None, programs=None, if_running="adopt")
        await pipe.request("ping")
        await pipe.request("remove", job="j", owner=None, purge=False)
        assert (await pipe.request("logs", job="j", process="p", stream="stdout"))["end"] == 4
        await pipe.request("install", spec=SPEC, owner=None, if_running="adopt")
        assert host.process("j", "p").generation == 1


async def test_a_host_in_trouble_lets_nobody_in() -> None:
    host = MemoryHost()
    host.trouble = HostUnreachable("gone fishing", host="memory")
    with pytest.raises(HostUnreachable, match="gone fishing"):
        await MemoryPipe(host).open()
    host.trouble = None
    async with MemoryPipe(host) as pipe:
        assert await pipe.request("ping")
