"""A host that went down: what had ended keeps its status, what ran is lost, or starts again where that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host
from tests.services.machine import Machine, can_be_had

Scripted = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.skipif(not can_be_had(), reason="a machine that can be rebooted takes root")


@pytest.fixture
def machine(short_folder: Path) -> Iterator[Machine]:
    with Machine(short_folder / "m") as machine:
        yield machine


async def seen_phases(host: Host, ends: str) -> list[str]:
    """Return the phases that a watch of the job tells, up to the given one."""
    watch = {"job": "job", "owner": OWNER, "consumer": None, "logs": False, "start": "end", "credit": 1}
    answer = await host.pipe.request("watch", **watch)
    phases = [answer["job"]["processes"][0]["phase"]]
    async for event in host.pipe.events(answer["sub"]):
        if event["event"] == "state":
            phases.append(event["process"]["phase"])
        if phases[-1] == ends:
            break
    return phases


@pytest.mark.promise("G2", "the host reboots after the end")
async def test_what_had_ended_before_is_told_after(
    root: Path, machine: Machine, ledger: Ledger, scripted: Scripted
) -> None:
    async with Host(root, python=machine.python) as host:
        await host.install(programs=scripted("--exit-code", "7"))
        await host.start()
        await host.wait_ended()
    machine.reboot()
    async with Host(root, python=machine.python) as host:
        await host.pipe.request("start_supervisord", job="job")
        ended = (await host.start())["p"]
        assert (ended["action"], ended["exit_code"]) == ("ended", 7)
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G4", "the host reboots while the program runs")
async def test_what_ran_is_lost(root: Path, machine: Machine, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root, python=machine.python) as host:
        await host.install(programs=scripted("--run-for", "600"))
        await host.start()
        ledger.wait_for(lambda book: book.starts())
    machine.reboot()
    async with Host(root, python=machine.python) as host:
        assert (await seen_phases(host, "ended"))[0] == "lost"
        lost = (await host.status())["p"]
        assert (lost["record"]["reason"], lost["exit_code"], lost["signal"]) == ("lost", None, None)
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "the host reboots, and the program is to be restarted")
async def test_what_is_to_outlive_it_is_started_again_by_a_watch_and_never_called_lost(
    root: Path, machine: Machine, ledger: Ledger, scripted: Scripted
) -> None:
    async with Host(root, python=machine.python) as host:
        await host.install(programs=scripted("--run-for", "600", on_reboot="restart"))
        await host.start()
        ledger.wait_for(lambda book: book.starts())
    machine.reboot()
    async with Host(root, python=machine.python) as host:
        phases = await seen_phases(host, "running")
        assert phases[0] == "backoff"
        assert not {"lost", "ended"}.intersection(phases)
        again = (await host.status())["p"]
        assert (again["generation"], again["owner"]) == (2, OWNER)
        ledger.wait_for(lambda book: len({entry.boot_id for entry in book.starts()}) == 2)
        assert len(ledger.starts()) == 2
        await host.stop()


async def test_bin_boot_brings_back_what_is_to_outlive_it(
    root: Path, machine: Machine, ledger: Ledger, scripted: Scripted
) -> None:
    async with Host(root, python=machine.python) as host:
        await host.install(name="over", programs=scripted("--run-for", "600", on_reboot="restart"))
        await host.start("over")
        ledger.wait_for(lambda book: book.starts())
        await host.stop("over")
        await host.pipe.request("stop_supervisord", job="over", owner=OWNER)
        await host.install(name="stays", programs=scripted("--run-for", "600"))
        await host.start("stays")
        await host.install(programs=scripted("--run-for", "600", on_reboot="restart"))
        await host.start()
        ledger.wait_for(lambda book: len(book.starts()) == 3)
    machine.reboot()
    assert "supervisord: pid" in machine.run(root / "bin/boot")
    ledger.wait_for(lambda book: len(book.starts()) == 4)
    machine.run(root / "bin/boot")
    async with Host(root, python=machine.python) as host:
        assert (await host.wait(lambda s: s["p"]["phase"] == "running"))["p"]["generation"] == 2
        assert (await host.status("stays"))["p"]["phase"] == "lost"
        assert (await host.status("over"))["p"]["phase"] == "ended"
        assert len(ledger.starts()) == 4


async def test_bin_boot_starts_nothing_where_nothing_is_to_run(root: Path, machine: Machine) -> None:
    async with Host(root, python=machine.python) as host:
        await host.install(programs={"p": {"command": "true"}})
        await host.pipe.request("stop_supervisord", job="job", owner=OWNER)
    machine.reboot()
    assert "No job" in machine.run(root / "bin/boot")
