"""The world that a program wakes up in: user, umask, directory, environment, descriptors, signals."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tests.services.host import Host

LOOK = """
import json, os, resource, signal, sys
fds = {n: os.path.join("/proc/self/fd", n) for n in os.listdir("/proc/self/fd")}
fds = {int(n): os.readlink(path) for n, path in fds.items() if os.path.lexists(path)}
umask = os.umask(0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
json.dump({
    "uid": os.getuid(), "gid": os.getgid(), "umask": umask, "cwd": os.getcwd(), "env": dict(os.environ), "fds": fds,
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "leads_session": os.getsid(0) == os.getpid(), "max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}, sys.stdout)
"""
SECRET = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


async def look(root: Path, **program: Any) -> dict[str, Any]:
    async with Host(root) as host:
        await host.install(programs={"p": {"command": ["/usr/bin/python3", "-I", "-c", LOOK], **program}})
        await host.start()
        ended = (await host.wait_ended())["p"]
        assert ended["exit_code"] == 0, (ended, await host.output("p", "stderr"))
        seen: dict[str, Any] = json.loads(await host.output("p"))
        return seen


async def test_what_a_program_gets_by_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "sqlite://secret")
    monkeypatch.setenv("AIRFLOW_CONN_X", "ssh://u:p@h")
    seen = await look(root)
    assert (seen["uid"], seen["umask"]) == (os.getuid(), 0o022)
    assert seen["cwd"] == os.path.realpath(os.environ["HOME"])
    assert seen["leads_session"]
    # The interpreter itself ignores SIGPIPE and SIGXFSZ; beyond 31 are the C library's own.
    assert seen["ignored"] & 0x7FFFFFFF & ~(1 << 12 | 1 << 24) == 0
    assert seen["blocked"] == 0
    assert not [name for name in seen["env"] if name.startswith("AIRFLOW_") and "SUPERVISOR_JOBS" not in name]
    assert seen["fds"]["0"] == "/dev/null"
    assert {name for name in seen["fds"].values() if not name.startswith(("pipe:", "/proc"))} == {
        "/dev/null",
        str(root / "locks/job/p.lock"),
    }
    assert seen["max_fds"] <= 65536
    assert seen["env"]["SUPERVISOR_PROCESS_NAME"] == "p"


async def test_what_a_program_is_given(root: Path, tmp_path: Path) -> None:
    environment = {"A": "ü \" ' % ; \n", "PATH": "/bin"}
    seen = await look(root, directory=str(tmp_path), umask="027", environment=environment)
    assert (seen["cwd"], seen["umask"]) == (str(tmp_path), 0o027)
    assert environment.items() <= seen["env"].items()


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
async def test_another_user(root: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    seen = await look(root, user="nobody")
    assert (seen["uid"], seen["gid"], seen["cwd"]) == (nobody.pw_uid, nobody.pw_gid, "/")
    assert (seen["env"]["USER"], seen["env"]["HOME"]) == ("nobody", nobody.pw_dir)
