"""Restart limits hold exactly, and a stop is a stop also between two tries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import TRIALS, Trial
from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host

Scripted = Callable[..., dict[str, Any]]
AT_ONCE = {"delay": 0, "max_delay": 0, "jitter": 0}


@pytest.mark.promise("G8", "crashes at once, after 0.5 s, after 1.2 s; each limit", weight=0.5)
@pytest.mark.parametrize(
    ("options", "program", "starts"),
    [
        (["--exit-code", "3"], {}, 1),
        (["--exit-code", "3"], {"autorestart": "unexpected", "restart": {**AT_ONCE, "attempts": 4}}, 5),
        (["--exit-code", "0"], {"autorestart": "unexpected", "restart": {**AT_ONCE, "attempts": 4}}, 1),
        (["--exit-code", "0"], {"autorestart": True, "restart": {**AT_ONCE, "attempts": 2}}, 3),
        (["--exit-code", "7"], {"autorestart": "unexpected", "exitcodes": [0, 7]}, 1),
        (["--die-by", "KILL"], {"autorestart": "unexpected", "restart": {**AT_ONCE, "attempts": 1}}, 2),
        (["--exit-code", "3", "--run-for", "0.5"], {"autorestart": True, "restart": {**AT_ONCE, "attempts": 2}}, 3),
        (["--exit-code", "3", "--run-for", "1.2"], {"autorestart": True, "restart": {**AT_ONCE, "attempts": 1}}, 2),
        (["--exit-code", "3"], {"startsecs": 5, "startretries": 1}, 2),
        (["--exit-code", "0"], {"startsecs": 5, "startretries": 3}, 1),
    ],
)
async def test_as_many_starts_as_allowed_and_no_more(
    root: Path, ledger: Ledger, scripted: Scripted, options: list[str], program: dict[str, Any], starts: int
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted(*options, **program))
        await host.start()
        ended = (await host.wait(lambda s: (s["p"]["record"] or {}).get("final")))["p"]
        assert len(ledger.starts()) == starts
        assert (ended["generation"], ended["restarts"]) == (starts, starts - 1)
        records = sorted(int(path.stem) for path in (root / "jobs/job/p/exit").glob("*.json"))
        assert records == list(range(1, starts + 1))


@pytest.mark.skipif(TRIALS == 1, reason="takes a minute: make faults tries it")
@pytest.mark.promise("G8", "crashes after 30 s", weight=0.1)
async def test_a_crash_long_after_the_start_counts_as_well(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        restart = {**AT_ONCE, "attempts": 1}
        await host.install(programs=scripted("--exit-code", "3", "--run-for", "30", autorestart=True, restart=restart))
        await host.start()
        ended = (await host.wait(lambda s: (s["p"]["record"] or {}).get("final"), within=100))["p"]
        assert (len(ledger.starts()), ended["generation"]) == (2, 2)


async def test_the_records_of_a_long_crash_loop_do_not_pile_up(root: Path) -> None:
    async with Host(root) as host:
        restart = {**AT_ONCE, "attempts": 130}
        await host.install(programs={"p": {"command": "false", "autorestart": "unexpected", "restart": restart}})
        await host.start()
        ended = (await host.wait_ended(within=60))["p"]
        records = sorted(int(path.stem) for path in (root / "jobs/job/p/exit").iterdir())
        assert ended["generation"] == 131
        assert records == list(range(32, 132))


@pytest.mark.promise("G8", "a stop between two tries")
async def test_a_stop_between_two_tries_ends_it(root: Path, ledger: Ledger, scripted: Scripted, trial: Trial) -> None:
    async with Host(root) as host:
        patient = {"delay": 600, "max_delay": 600}
        await host.install(programs=scripted("--exit-code", "3", autorestart="unexpected", restart=patient))
        await host.start()
        waiting = (await host.wait(lambda s: s["p"]["phase"] == "backoff"))["p"]
        await trial.moment()
        assert (waiting["state"], waiting["record"]["final"]) == ("RUNNING", False)
        stopped = (await host.stop())["p"]
        assert (stopped["phase"], stopped["exit_code"], stopped["record"]["reason"]) == ("ended", 3, "stopped")
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G8", "restarts under a watch")
async def test_a_watch_sees_each_generation(root: Path, scripted: Scripted) -> None:
    async with Host(root) as host:
        program = {"autorestart": "unexpected", "restart": {"delay": 0.1, "attempts": 2}}
        await host.install(programs=scripted("--exit-code", "3", **program))
        answer = await host.pipe.request(
            "watch", job="job", owner=OWNER, consumer=None, logs=False, start="end", credit=1
        )
        await host.start()
        seen = []
        async for event in host.pipe.events(answer["sub"]):
            if event["event"] == "state" and (record := event["process"]["record"]):
                if (record["generation"], record["final"]) not in seen:
                    seen.append((record["generation"], record["final"]))
                if record["final"]:
                    break
        assert seen == [(1, False), (2, False), (3, True)]
