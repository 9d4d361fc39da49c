"""Being a guest of a supervisord that was there before us, and whose other programs are not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.host import OWNER, Host, wait_for

SUPERVISORD = Path(sys.executable).parent / "supervisord"
THEIRS = "[program:theirs]\ncommand=sleep 600\n"


@pytest.fixture
def conf(short_folder: Path) -> Iterator[Path]:
    """Yield the config of a running supervisord with a program of its own, laid out as Debian does."""
    conf = short_folder / "supervisord.conf"
    (short_folder / "conf.d").mkdir()
    (short_folder / "conf.d/theirs.conf").write_text(THEIRS)
    conf.write_text(
        f"[unix_http_server]\nfile={short_folder}/s.sock\nchmod=0700\n"
        f"[supervisord]\nlogfile={short_folder}/s.log\npidfile={short_folder}/s.pid\nchildlogdir={short_folder}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{short_folder}/s.sock\n"
        f"[include]\nfiles = {short_folder}/conf.d/*.conf\n"
    )
    subprocess.run([SUPERVISORD, "-c", conf], check=True)
    yield conf
    os.kill(int((short_folder / "s.pid").read_text()), signal.SIGTERM)


async def test_a_job_runs_as_a_guest_and_leaves_the_house_as_it_was(root: Path, conf: Path) -> None:
    def supervisorctl(*words: str) -> str:
        command = [SUPERVISORD.with_name("supervisorctl"), "-c", conf, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    await wait_for(lambda: "RUNNING" in supervisorctl("status", "theirs"), "their program")
    theirs = supervisorctl("pid", "theirs")
    async with Host(root) as host:
        await host.install(
            host={"name": "here", "root": str(root), "supervisord": {"attach": str(conf)}},
            programs={"p": {"command": "sh -c 'echo hello; exec sleep 600'"}},
        )
        hello = await host.pipe.request("hello")
        assert hello["supervisord"]["source"] == "attached"
        assert (await host.start())["p"]["state"] == "RUNNING"
        assert "RUNNING" in supervisorctl("status", "job:p")
        await host.wait(lambda s: (root / "jobs/job/p/stdout.log").read_text() == "hello\n")
        stopped = (await host.stop())["p"]
        assert (stopped["signal"], stopped["state"]) == (15, "STOPPED")
        assert not (await host.pipe.request("stop_supervisord", job="job", owner=OWNER))["stopped"]
        assert (await host.pipe.request("remove", job="job", owner=OWNER, purge=True))["removed"]
    assert "no such" in supervisorctl("status", "job:p")
    assert supervisorctl("pid", "theirs") == theirs
    assert not (root / "supervisord.conf").exists()
