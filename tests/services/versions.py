"""Clients of another version than this one, each a process of its own with a package of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import airflow_supervisor_jobs

PACKAGE = Path(airflow_supervisor_jobs.__file__).parent
TESTS = Path(__file__).parents[1]
#: The agent of the first release, as it was sent to hosts: what every later client meets there.
FIRST_AGENT = TESTS / "data/first_agent.zip"

ASK = """
import asyncio, json, sys
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.connect import open_pipe

async def ask(root, verb, params):
    async with open_pipe(HostSettings(host="here", root=root)) as pipe:
        return await pipe.request(verb, **params)

root, verb, params = json.load(sys.stdin)
json.dump(asyncio.run(ask(root, verb, params)), sys.stdout)
"""


class OtherVersion:
    """A client whose package lies in a folder of its own.

    :param folder: where.
    :param root: the root that it asks about.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        self._agent = folder / PACKAGE.name / "agent"
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))

    @classmethod
    def first(cls, folder: Path, root: Path) -> OtherVersion:
        """Return a client that brings the agent of the first release."""
        self = cls(folder, root)
        shutil.rmtree(self._agent)
        with zipfile.ZipFile(FIRST_AGENT) as archive:
            archive.extractall(self._agent.parent)
        return self

    @classmethod
    def next(cls, folder: Path, root: Path) -> OtherVersion:
        """Return a client that brings an agent and a runner that differ from this version's."""
        self = cls(folder, root)
        for source in self._agent.glob("*.py"):
            source.write_text(f"{source.read_text()}\n# of the next version\n")
        return self

    def request(self, verb: str, **params: Any) -> dict[str, Any]:
        """Return the host's answer to this client."""
        asked = json.dumps([str(self._root), verb, params])
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            input=asked,
            env=environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer
