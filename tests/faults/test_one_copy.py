"""Never two copies of a process, and its end is known exactly, whoever of its keepers dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign.trial import Trial
from tests.programs.ledger import Ledger
from tests.services.host import OTHER, Host, wait_for

Scripted = Callable[..., dict[str, Any]]


async def kill_supervisord(host: Host, trial: Trial) -> None:
    """Kill it with -9 at a random moment after the start."""
    await trial.moment()
    os.kill(host.supervisord_pid(), signal.SIGKILL)


@pytest.mark.promise("G1", "supervisord killed with -9, and another started")
async def test_a_new_supervisord_answers_for_what_the_killed_one_left(
    root: Path, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--on-term-exit", "5"))
        pid = (await host.start())["p"]["pid"]
        ledger.wait_for(lambda book: book.starts())
        await kill_supervisord(host, trial)
        assert (await host.wait(lambda s: s["p"]["state"] is None))["p"]["phase"] == "running"
        assert (await host.pipe.request("start_supervisord", job="job"))["started"]
        back = await host.wait(lambda s: s["p"]["state"] == "RUNNING")
        assert (back["p"]["pid"], back["p"]["generation"]) == (pid, 1)
        assert (await host.start())["p"]["action"] == "adopted"
        stopped = (await host.stop())["p"]
        assert (stopped["exit_code"], stopped["generation"], stopped["state"]) == (5, 1, "STOPPED")
        assert len(ledger.starts(role="main")) == 1
        assert not ledger.alive()
        subprocess.run([root / "bin/supervisorctl", "start", "job:p"], check=True, capture_output=True)
        again = await host.wait(lambda s: s["p"]["phase"] == "running")
        assert again["p"]["generation"] == 2


@pytest.mark.promise("G2", "it ends while no supervisord lives")
async def test_what_ends_while_no_supervisord_lives_keeps_its_exit_status(
    root: Path, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--on-term-exit", "7"))
        pid = (await host.start())["p"]["pid"]
        ledger.wait_for(lambda book: book.starts())
        await kill_supervisord(host, trial)
        os.kill(pid, signal.SIGTERM)
        ended = (await host.wait_ended())["p"]
        assert (ended["exit_code"], ended["record"]["reason"]) == (7, "exited")
        await host.pipe.request("start_supervisord", job="job")
        assert (await host.start())["p"]["action"] == "ended"
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "supervisord killed with -9 under a watch, which brings it back")
async def test_a_watching_agent_brings_supervisord_back(
    root: Path, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        pid = (await host.start())["p"]["pid"]
        await host.pipe.request("watch", job="job", owner=None, consumer=None, logs=False, start="end", credit=1)
        dead = host.supervisord_pid()
        await kill_supervisord(host, trial)
        back = await host.wait(lambda s: s["p"]["state"] == "RUNNING" and host.supervisord_pid() != dead)
        assert back["p"]["pid"] == pid
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G3", "supervisord killed with -9 while the program prints")
async def test_a_survivors_output_still_reaches_the_log(root: Path, scripted: Scripted, trial: Trial) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--print-lines", "200", "--line-every", "0.005"))
        await host.start()
        await host.wait(lambda s: s["p"]["phase"] == "running")
        await kill_supervisord(host, trial)
        await host.pipe.request("start_supervisord", job="job")
        await host.wait_ended()
        assert await host.output("p") == b"".join(b"line %d\n" % n for n in range(1, 201))


@pytest.mark.promise("G1", "supervisord killed with -9, and another started by hand, and the program by supervisorctl")
async def test_supervisorctl_after_a_supervisord_by_hand_starts_no_second_copy(
    root: Path, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        pid = (await host.start())["p"]["pid"]
        command = (await host.pipe.request("hello"))["supervisord"]["command"]
        await kill_supervisord(host, trial)
        await wait_for(lambda: not Path(f"/proc/{host.supervisord_pid()}").exists(), "the end of supervisord")
        subprocess.run([*command, "-c", root / "supervisord.conf"], check=True)
        supervisorctl = root / "bin/supervisorctl"
        subprocess.run([supervisorctl, "start", "job:p"], check=True, capture_output=True)
        status = await host.wait(lambda s: s["p"]["state"] == "RUNNING")
        assert status["p"]["pid"] == pid
        subprocess.run([supervisorctl, "stop", "job:p"], check=True, capture_output=True)
        assert not ledger.alive()
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "supervisord killed with -9, `if_supervisord_dies` keep and stop")
@pytest.mark.parametrize("ends", ["keep", "stop"])
async def test_if_supervisord_dies_keeps_or_stops(
    root: Path, ledger: Ledger, scripted: Scripted, ends: str, trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", if_supervisord_dies=ends))
        await host.start()
        await kill_supervisord(host, trial)
        await host.pipe.request("start_supervisord", job="job")
        if ends == "stop":
            ended = (await host.wait_ended())["p"]
            assert (ended["signal"], ended["record"]["reason"]) == (15, "terminated")
            assert not ledger.alive()
        else:
            await host.wait(lambda s: s["p"]["state"] == "RUNNING")
            assert len(ledger.alive()) == 1


@pytest.mark.promise("G5", "the runner killed with -9: `lost`, and its tree ended before the next start", weight=0.5)
@pytest.mark.parametrize("shape", [[], ["--fork"], ["--double-fork"], ["--setsid"], ["--setsid", "--clear-env"]])
async def test_a_killed_runner_is_lost_and_nothing_of_its_tree_stays(
    root: Path, ledger: Ledger, scripted: Scripted, shape: list[str], trial: Trial
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", *shape))
        first = (await host.start())["p"]
        ledger.wait_for(lambda book: len(book.alive()) == (2 if shape else 1))
        await host.pipe.request("watch", job="job", owner=None, consumer=None, logs=False, start="end", credit=1)
        await trial.moment()
        os.kill(first["runner_pid"], signal.SIGKILL)
        lost = (await host.wait_ended())["p"]
        assert (lost["record"]["reason"], lost["exit_code"], lost["signal"]) == ("lost", None, None)
        assert not ledger.alive()
        again = (await host.start(owner=OTHER))["p"]
        assert (again["action"], again["generation"]) == ("started", 2)
        ledger.wait_for(lambda book: len(book.alive(role="main")) == 1)


@pytest.mark.promise("G1", "many starts at once by several agents")
async def test_several_agents_start_one_copy(root: Path, ledger: Ledger, scripted: Scripted, trial: Trial) -> None:
    agents, each = trial.random.randint(2, 4), trial.random.randint(1, 5)
    async with contextlib.AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(Host(root)) for _ in range(agents)]
        await hosts[0].install(programs=scripted("--run-for", "600"))
        answers = await asyncio.gather(*(host.start() for host in hosts for _ in range(each)))
        assert sorted(answer["p"]["action"] for answer in answers) == ["adopted"] * (agents * each - 1) + ["started"]
        ledger.wait_for(lambda book: book.alive())
        assert len(ledger.starts()) == 1


@pytest.mark.promise("G2", "ten starts, each right after the end of the last", weight=0.5)
async def test_a_start_right_after_the_end_is_not_mixed_up_with_it(
    root: Path, ledger: Ledger, scripted: Scripted
) -> None:
    async with Host(root) as host:
        for number in range(1, 11):
            owner = {"run_id": str(number)}
            await host.install(owner, programs=scripted("--exit-code", str(number)))
            assert (await host.start(owner=owner))["p"]["generation"] == number
            ended = (await host.wait(lambda s, n=number: s["p"]["generation"] == n and s["p"]["record"]))["p"]
            assert ended["exit_code"] == number
        assert len(ledger.starts()) == 10


async def test_what_an_operator_does_with_supervisorctl_acts_on_the_program(
    root: Path, ledger: Ledger, scripted: Scripted
) -> None:
    def supervisorctl(*words: str) -> str:
        done = subprocess.run([root / "bin/supervisorctl", *words], capture_output=True, text=True, check=False)
        return done.stdout

    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        await host.start()
        assert "RUNNING" in supervisorctl("status", "job:p")
        assert int(supervisorctl("pid", "job:p")) == (await host.status())["p"]["runner_pid"]
        supervisorctl("stop", "job:p")
        stopped = (await host.wait_ended())["p"]
        assert (stopped["record"]["reason"], stopped["signal"], stopped["record"]["stop"]) == ("terminated", 15, None)
        supervisorctl("start", "job:p")
        again = (await host.wait(lambda s: s["p"]["phase"] == "running"))["p"]
        assert again["generation"] == 2
        supervisorctl("restart", "job:p")
        assert (await host.wait(lambda s: s["p"]["phase"] == "running"))["p"]["generation"] == 3
        ledger.wait_for(lambda book: len(book.starts()) == 3)
        supervisorctl("signal", "USR1", "job:p")
        ledger.wait_for(lambda book: book.signals())
        supervisorctl("signal", "HUP", "job:p")
        assert (await host.wait_ended())["p"]["signal"] == signal.SIGHUP
        assert not ledger.alive()
