"""What nobody answers for any more is found and ended, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs.ledger import Entry, Ledger
from tests.services.host import Host
from tests.services.ssh import free_port

#: Every command imports Airflow.
pytestmark = pytest.mark.timeout(300)

COMMAND = [sys.executable, "-c", "from airflow_supervisor_jobs.cli.main import main; main()"]
DEPLOYMENT = "this-airflow"
#: An Airflow's database with two runs, made by Airflow's own code.
POPULATE = """
from datetime import datetime, timezone
from airflow.models.dagrun import DagRun
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType
with create_session(scoped=False) as session:
    Variable.set("supervisor_jobs_deployment", "this-airflow", session=session)
    for run_id, state in {"over": "failed", "ended": "success", "active": "running"}.items():
        run = {"dag_id": "feed", "run_id": run_id, "run_type": DagRunType.MANUAL, "state": state}
        session.add(DagRun(**run, run_after=datetime.now(tz=timezone.utc)))
"""

Scripted = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an Airflow whose runs of the DAG ``feed`` are ``over``, ``ended`` and ``active``."""
    home = tmp_path_factory.mktemp("airflow")
    environ = {**os.environ, "AIRFLOW_HOME": str(home)}
    for words in (["-m", "airflow", "db", "migrate"], ["-c", POPULATE]):
        subprocess.run([sys.executable, *words], env=environ, check=True, capture_output=True)
    return home


def owner(run_id: str, **more: str) -> dict[str, str]:
    return {"deployment": DEPLOYMENT, "dag_id": "feed", "run_id": run_id, "task": "", "map_index": "-1", **more}


class Sweeper:
    """``supervisor-jobs orphans`` in a folder whose only host, ``here``, is the test's root."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.stderr = ""
        self.declare("host", "here", root=str(root))
        self.declare("job", "declared", host="here", command="true")

    def declare(self, kind: str, name: str, **content: Any) -> None:
        path = self.folder / "configs" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))

    async def run(self, *words: str, airflow: Path | None, status: int) -> list[dict[str, Any]]:
        """Return the findings of a command that exits with ``status``."""
        environ = {**os.environ, "AIRFLOW_HOME": str(airflow or self.folder / "none"), "HOME": str(self.folder)}
        command = [*COMMAND, "orphans", "--confirm-after", "0.1", "--retry-delay", "0.1", "-o", "json", *words]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        self.stderr = done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def sweeper(tmp_path: Path, root: Path) -> Sweeper:
    return Sweeper(tmp_path, root)


class Fleet:
    """Scripted jobs of several owners on one host, each with a ledger of its own."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.ledgers: dict[str, Ledger] = {}

    async def start(self, name: str, whose: dict[str, str], *options: str, **job: Any) -> None:
        self.ledgers[name] = ledger = Ledger(self.folder / f"{name}.jsonl")
        script = Path(__file__).parents[1] / "programs/scripted_job.py"
        command = [sys.executable, "-S", str(script), "--ledger", str(ledger.path), "--run-for", "600", *options]
        await self.host.install(whose, name=name, programs={"p": {"command": command, "stopwaitsecs": 1}}, **job)
        await self.host.start(name, owner=whose)
        ledger.wait_for(lambda seen: seen.alive())

    def alive(self) -> set[str]:
        return {name for name, ledger in self.ledgers.items() if ledger.alive()}


def jobs_of(findings: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {finding["job"]: finding["action"] for finding in findings}


async def test_jobs_of_runs_that_are_over_or_unknown_are_ended_and_no_other_is_touched(
    root: Path, tmp_path: Path, sweeper: Sweeper, airflow_home: Path
) -> None:
    async with Host(root) as host:
        fleet = Fleet(host, tmp_path)
        await fleet.start("failed", owner("over"), "--ignore-term", "--children", "2", "--setsid")
        await fleet.start("succeeded", owner("ended"))
        await fleet.start("deleted", owner("of which nobody knows"))
        orphans = {"failed", "succeeded", "deleted"}
        await fleet.start("watched", owner("active"))
        await fleet.start("outlives", owner("over"), airflow={"stop_on_exit": False})
        await fleet.start("theirs", owner("over", deployment="another-airflow"))
        await fleet.start("by_hand", {"deployment": "cli", "user": "ann@desk"})
        kept = {"watched", "outlives", "theirs", "by_hand"}

        found = await sweeper.run(airflow=airflow_home, status=4)
        assert jobs_of(found) == dict.fromkeys(orphans, "found")
        assert fleet.alive() == orphans | kept

        ended = await sweeper.run("--stop", airflow=airflow_home, status=0)
        assert jobs_of(ended) == dict.fromkeys(orphans, "ended")
        assert {(one["host"], one["process"], one["generation"]) for one in ended} == {("here", "p", 1)}
        assert fleet.alive() == kept

        assert await sweeper.run("--stop", airflow=airflow_home, status=0) == []
        installed = {each["job"] for each in (await host.pipe.request("status", job=None))["jobs"]}
        assert installed == kept
        record = json.loads((root / "jobs/failed/p/exit/1.json").read_text())
        assert "supervisor-jobs orphans" in record["stop"]["by"]
        for name in kept:
            await host.pipe.request("stop", job=name, owner=None, programs=None, by="the test", reason="stopped")


async def test_without_an_airflow_nothing_is_called_over_and_that_is_said(
    root: Path, tmp_path: Path, sweeper: Sweeper
) -> None:
    async with Host(root) as host:
        fleet = Fleet(host, tmp_path)
        await fleet.start("failed", owner("over"))

        assert await sweeper.run("--stop", airflow=None, status=1) == []

        assert "no Airflow is set up here" in sweeper.stderr
        assert "failed" in sweeper.stderr.splitlines()[-1]
        assert fleet.alive() == {"failed"}
        assert not (tmp_path / "none").exists()
        await host.stop("failed", owner=owner("over"))


async def test_a_database_that_is_none_ends_nothing(root: Path, tmp_path: Path, sweeper: Sweeper) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "airflow.cfg").write_text("")
    async with Host(root) as host:
        fleet = Fleet(host, tmp_path)
        await fleet.start("failed", owner("over"))
        assert await sweeper.run("--stop", airflow=empty, status=1) == []
        assert "database does not answer" in sweeper.stderr
        assert fleet.alive() == {"failed"}
        await host.stop("failed", owner=owner("over"))


async def left_by_a_killed_runner(host: Host, ledger: Ledger, programs: dict[str, Any]) -> Entry:
    """Return the child that goes on when the runner of the job, and with it the program, was killed."""
    await host.install(programs=programs)
    runner = (await host.start())["p"]["runner_pid"]
    (child,) = ledger.wait_for(lambda seen: seen.alive(role="child"))
    os.kill(runner, signal.SIGKILL)
    ledger.wait_for(lambda seen: not seen.alive(role="main"))
    return child


async def test_what_a_killed_runner_leaves_behind_is_ended_without_an_airflow(
    root: Path, ledger: Ledger, scripted: Scripted, sweeper: Sweeper
) -> None:
    async with Host(root) as host:
        programs = scripted("--run-for", "600", "--double-fork", "--setsid")
        child = await left_by_a_killed_runner(host, ledger, programs)

        (found,) = await sweeper.run(airflow=None, status=4)
        assert (found["pid"], found["job"], found["process"], found["generation"]) == (child.pid, "job", "p", 1)
        assert child.is_alive()

        (ended,) = await sweeper.run("--stop", airflow=None, status=0)
        assert (ended["pid"], ended["action"]) == (child.pid, "ended")
        assert not child.is_alive()
        assert json.loads((root / "jobs/job/p/exit/1.json").read_text())["reason"] == "lost"
        assert await sweeper.run("--stop", airflow=None, status=0) == []


async def test_a_stray_without_an_environment_is_known_by_its_lock(
    root: Path, ledger: Ledger, scripted: Scripted, sweeper: Sweeper
) -> None:
    options = ("--run-for", "600", "--double-fork", "--setsid", "--clear-env")
    async with Host(root) as host:
        child = await left_by_a_killed_runner(host, ledger, scripted(*options))
        (ended,) = await sweeper.run("--stop", airflow=None, status=0)
        assert (ended["pid"], ended["action"]) == (child.pid, "ended")
        assert not child.is_alive()


async def test_what_has_shed_every_sign_of_ours_cannot_be_told_from_a_stranger(
    root: Path, ledger: Ledger, scripted: Scripted, sweeper: Sweeper
) -> None:
    options = ("--run-for", "600", "--double-fork", "--setsid", "--clear-env", "--close-fds")
    async with Host(root) as host:
        child = await left_by_a_killed_runner(host, ledger, scripted(*options))
        assert await sweeper.run("--stop", airflow=None, status=0) == []
        assert child.is_alive()


async def test_a_living_tree_is_no_stray(root: Path, ledger: Ledger, scripted: Scripted, sweeper: Sweeper) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--double-fork", "--setsid", "--clear-env"))
        await host.start()
        ledger.wait_for(lambda seen: seen.alive(role="child"))
        assert await sweeper.run("--stop", airflow=None, status=0) == []
        assert ledger.alive(role="main")
        assert ledger.alive(role="child")
        await host.stop()


async def test_a_host_out_of_reach_hides_no_other(
    root: Path, tmp_path: Path, sweeper: Sweeper, airflow_home: Path
) -> None:
    gone = {"hostname": "127.0.0.1", "port": free_port(), "username": "ann", "conn_timeout": 5}
    sweeper.declare("host", "gone", **gone)
    sweeper.declare("job", "away", host="gone", command="true")
    async with Host(root) as host:
        fleet = Fleet(host, tmp_path)
        await fleet.start("failed", owner("over"))

        ended = await sweeper.run("--stop", "--retries", "1", airflow=airflow_home, status=3)

        assert jobs_of(ended) == {"failed": "ended"}
        assert fleet.alive() == set()
        assert json.loads(sweeper.stderr.splitlines()[-1])["error"]["host"] == "gone"
        assert await sweeper.run("--stop", "--host", "here", airflow=airflow_home, status=0) == []
