"""Nobody else can read, talk to or fool what is in a root, and nothing listens on a port."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, render_spec
from airflow_supervisor_jobs.exceptions import AgentError
from tests.services.host import OWNER, Host

SECRET = "correct horse battery staple"


def listening_inodes() -> set[str]:
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {fields[9] for fields in lines if fields[3] == "0A"}


def sockets_of(pid: int) -> set[str]:
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(link)]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


async def test_everything_is_ours_alone_and_nothing_listens(root: Path) -> None:
    old = os.umask(0)
    try:
        async with Host(root) as host:
            await host.install(programs={"p": {"command": "sleep 600", "environment": {"PASSWORD": SECRET}}})
            one = (await host.start())["p"]
            for path in [root, *root.rglob("*")]:
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode):
                    assert not mode & 0o077, (path, oct(mode))
            pids = (host.supervisord_pid(), one["runner_pid"], one["pid"])
            assert not listening_inodes() & set.union(*map(sockets_of, pids))
            for pid in pids:
                assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            told = [path for path in root.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
            assert [path.parts[-2:] for path in told] == [("env", "p.json")]
    finally:
        os.umask(old)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a\nb", "a" * 65, None, 7])
async def test_no_name_leads_out_of_the_root(root: Path, name: object) -> None:
    async with Host(root) as host:
        spec = render_spec(Job.model_validate({"name": "job", "programs": {"p": {"command": "true"}}}))
        for evil in ({**spec, "job": name}, {**spec, "processes": [{**spec["processes"][0], "process": name}]}):
            with pytest.raises(AgentError) as refusal:
                await host.pipe.request("install", spec=evil, owner=OWNER, if_running="adopt")
            assert refusal.value.code == "bad_request"
        for verb, params in (
            ("remove", {"job": name, "owner": None, "purge": True}),
            ("logs", {"job": name, "process": name}),
            ("ack", {"job": "job", "consumer": name, "positions": {"p": {}}, "reported": {}}),
        ):
            with pytest.raises(AgentError):
                await host.pipe.request(verb, **params)
        assert sorted(path.name for path in root.parent.iterdir()) == ["r"]
