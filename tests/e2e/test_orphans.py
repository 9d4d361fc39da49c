"""The sweep on a real Airflow: what a run has left behind is ended, what no run has lost is told, the rest is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.fleet import Fleet
from tests.programs.ledger import Ledger
from tests.services.host import Host
from tests.services.sshd import OpenSSH

pytestmark = [pytest.mark.airflow, pytest.mark.openssh, pytest.mark.timeout(1800)]

COMMAND = [sys.executable, "-c", "from airflow_supervisor_jobs.cli.main import main; main()"]


class Away:
    """A second host, which is Airflow's connection ``orphans_away``."""

    def __init__(self, fleet: Fleet, server: OpenSSH) -> None:
        self.fleet = fleet
        self.server = server
        self.root = fleet.root.parent / "away"

    def begin(self, *dags: str) -> None:
        """Each of the DAGs has a run."""
        self.fleet.airflow.wait_for_dags(dags)
        for dag in dags:
            self.fleet.api.trigger(dag, run_id=self.fleet.run_id(dag))

    def begun(self, dag: str, *states: str) -> Ledger:
        """The run's watch is in one of ``states``; the ledger of its program is returned."""
        self.fleet.api.wait_for_task(dag, self.fleet.run_id(dag), "watch_programs", set(states), timeout=240)
        ledger = Ledger(self.fleet.root.parent / f"{dag}.jsonl")
        ledger.wait_for(lambda seen: len(seen.alive()) == 2)
        return ledger

    def swept(self, number: int) -> tuple[str, list[dict[str, Any]], str]:
        """How a run of the sweep ended, what it found, and its log."""
        run_id = f"sweep_{number}"
        self.fleet.airflow.wait_for_dags(["orphan_sweep"])
        self.fleet.api.trigger("orphan_sweep", run_id=run_id)
        state = self.fleet.api.wait_for_run("orphan_sweep", run_id, timeout=240)
        found = self.fleet.api.xcoms("orphan_sweep", run_id, "away").get("return_value", [])
        return state, found, "\n".join(self.fleet.api.log_lines("orphan_sweep", run_id, "away"))


@pytest.fixture
def away(fleet: Fleet, openssh: OpenSSH) -> Iterator[Away]:
    body = {**json.loads(openssh.connection()), "connection_id": "orphans_away"}
    fleet.api.call("POST", "connections", json={**body, "extra": json.dumps(body["extra"])})
    yield Away(fleet, openssh)
    fleet.api.call("DELETE", "connections/orphans_away")


@pytest.mark.promise("G9", "dagrun_timeout while the host is out of reach: by the sweep")
def test_what_dagrun_timeout_left_on_a_host_out_of_reach_is_ended_and_nothing_else(away: Away) -> None:
    api, run_id = away.fleet.api, away.fleet.run_id
    away.begin("orphan_times_out", "orphan_goes_on", "orphan_outlives")
    timed_out = away.begun("orphan_times_out", "deferred")
    goes_on = away.begun("orphan_goes_on", "deferred")
    # Its time is over at once, and it says stop_on_exit: false.
    outlives = away.begun("orphan_outlives", "deferred", "success")
    assert api.wait_for_run("orphan_outlives", run_id("orphan_outlives"), timeout=240) == "success"

    away.server.stop()
    assert api.wait_for_run("orphan_times_out", run_id("orphan_times_out"), timeout=300) == "failed"
    away.server.start()
    assert len(timed_out.alive()) == 2

    state, found, _ = away.swept(1)

    assert (state, [(one["host"], one["job"], one["action"]) for one in found]) == (
        "success",
        [("away", "orphan_times_out", "ended")],
    )
    assert timed_out.alive() == []
    assert len(goes_on.alive()) == len(outlives.alive()) == 2
    api.mark_run("orphan_goes_on", run_id("orphan_goes_on"), "failed")
    goes_on.wait_for(lambda seen: not seen.alive(), deadline=120)
    outlives.end_all()


async def test_a_watch_whose_job_is_gone_is_told_by_the_sweep_and_the_command(away: Away, tmp_path: Path) -> None:
    away.begin("orphan_bereft")
    away.begun("orphan_bereft", "up_for_reschedule")
    async with Host(away.root) as host:
        await host.pipe.request("stop", job="orphan_bereft", owner=None, programs=None, by="a test", reason="stopped")
        await host.pipe.request("remove", job="orphan_bereft", owner=None, purge=False)

    state, _, log = away.swept(2)

    task = f"the task orphan_bereft/{away.fleet.run_id('orphan_bereft')}/watch_programs waits for it"
    assert state == "failed"
    assert task in log

    for kind, name, content in (
        ("host", "away", {"ssh_conn_id": "orphans_away", "root": str(away.root)}),
        ("job", "any", {"command": "true", "host": "away"}),
    ):
        (tmp_path / "configs" / kind).mkdir(parents=True)
        (tmp_path / "configs" / kind / f"{name}.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [*COMMAND, "orphans", "-o", "json"],
        cwd=tmp_path, env=away.fleet.airflow.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    (finding,) = json.loads(done.stdout)
    assert (finding["host"], finding["job"]) == ("away", "orphan_bereft")
    assert task in finding["reason"]
