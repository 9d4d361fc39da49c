"""What networks and sshd do to a conversation costs neither a job, nor its exit status, nor makes a second copy."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts import asyncssh_pipe, paramiko_pipe, refusals, stream
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.stream import StreamPipe
from tests.faults.campaign.trial import Trial
from tests.programs.ledger import Ledger
from tests.services import switches
from tests.services.far import Far, Processes
from tests.services.host import OWNER, by_process, wait_for
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.openssh]


@pytest.fixture
def quick_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent host is unreachable within seconds, a refusing one at once."""
    monkeypatch.setattr(stream, "PING_INTERVAL", 1)
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 4)
    monkeypatch.setattr(refusals, "REFUSED_PATIENCE", 0.2)


libraries = pytest.mark.parametrize("library", list(SSHLibrary), ids=lambda library: library.value)


# One copy, whatever becomes of the order


@pytest.mark.promise("G1", "the reply of start is lost")
@libraries
@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_start_whose_reply_is_lost_is_adopted_by_the_next(
    far: Far, ledger: Ledger, scripted: Scripted, library: SSHLibrary, end: str
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    async with open_pipe(resolve(far.model, user_config=None), library=library) as pipe:
        far.link.swallow_replies()
        asking = asyncio.create_task(pipe.request("start", job="job", owner=dict(OWNER), if_running="adopt"))
        await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
        getattr(far.link, end)()
        with pytest.raises(HostUnreachable):
            await asyncio.wait_for(asking, 30)
    far.link.flow()
    again = (await far.start(library))["p"]
    assert (again["action"], again["pid"]) == ("adopted", ledger.alive()[0].pid)
    assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "the connection ends at any byte of a start")
@libraries
@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_connection_that_ends_at_any_byte_of_a_start_makes_no_second_copy(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial, library: SSHLibrary, end: str
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.start(library)
    lengths = {way: way.carried for way in (far.link.to_server, far.link.to_client)}
    ledger.wait_for(lambda book: book.alive())
    await far.near.stop()
    parts = [0.0, 0.999, *(trial.random.random() for _ in range(4))]
    trial.tried = len(parts)
    for number, part in enumerate(parts, 2):
        way, length = trial.random.choice(list(lengths.items()))
        way.after(int(part * length), getattr(far.link, end))
        started = await until_answered(lambda: far.start(library))
        assert started["p"]["action"] in ("started", "adopted")
        assert started["p"]["generation"] == number
        ledger.wait_for(lambda book, number=number: len(book.starts()) == number)
        assert [entry.pid for entry in ledger.alive()] == [started["p"]["pid"]]
        await far.near.stop()
        assert not ledger.alive()


@pytest.mark.promise("G1", "the host falls silent at any byte of a start")
@libraries
async def test_a_host_that_falls_silent_at_any_byte_of_a_start_is_unreachable_and_makes_no_second_copy(
    far: Far,
    ledger: Ledger,
    scripted: Scripted,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    quick_to_notice: None,
    library: SSHLibrary,
) -> None:
    for module in (paramiko_pipe, asyncssh_pipe):
        monkeypatch.setattr(module, "SESSION_WAIT", 2)
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.start(library)
    lengths = {way: way.carried for way in (far.link.to_server, far.link.to_client)}
    settings = resolve(far.model, user_config=None)
    assert settings.ssh is not None
    hasty = replace(settings.ssh, conn_timeout=2, banner_timeout=2, auth_timeout=2)
    for _ in range(3):
        way, length = trial.random.choice(list(lengths.items()))
        way.after(trial.random.randrange(length), far.link.swallow)
        with pytest.raises(HostUnreachable):
            await start_until_lost(open_pipe(replace(settings, ssh=hasty, start_timeout=3), library=library))
        far.link.reset()
        far.link.flow()
        assert (await far.start(library))["p"]["action"] == "adopted"
    assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "an order comes one byte at a time")
@libraries
async def test_an_order_that_comes_byte_by_byte_is_an_order(
    far: Far, ledger: Ledger, scripted: Scripted, library: SSHLibrary
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    far.link.piece = 1
    assert (await far.start(library))["p"]["action"] == "started"
    assert (await far.start(library))["p"]["action"] == "adopted"
    ledger.wait_for(lambda book: book.alive())
    assert len(ledger.starts()) == 1


@pytest.mark.promise("G1", "several clients start at once, and no reply comes")
async def test_clients_that_start_at_once_and_hear_nothing_start_one_copy(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    clients = [library for library in SSHLibrary for _ in range(trial.random.randint(1, 2))]
    pipes = [open_pipe(resolve(far.model, user_config=None), library=library) for library in clients]
    await asyncio.gather(*(pipe.open() for pipe in pipes))
    far.link.swallow_replies()
    order = {"job": "job", "owner": dict(OWNER), "if_running": "adopt"}
    asking = [asyncio.create_task(pipe.request("start", **order)) for pipe in pipes]
    await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
    await trial.moment()
    far.link.reset()
    lost = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(error) for error in lost} == {HostUnreachable}
    await asyncio.gather(*(pipe.close() for pipe in pipes))
    far.link.flow()
    again = await asyncio.gather(*(far.start(library) for library in clients))
    assert {answer["p"]["action"] for answer in again} == {"adopted"}
    assert len(ledger.starts()) == 1


async def until_answered(ask: Callable[[], Awaitable[Processes]]) -> Processes:
    """Ask again, as a retried task does, until there is an answer; the fault is over after the first time."""
    with suppress(HostUnreachable):
        return await ask()
    return await ask()


async def start_until_lost(pipe: StreamPipe) -> None:
    """Give the order again and again: the last bytes of one conversation may be a little more than another's."""
    async with pipe:
        while True:
            await pipe.request("start", job="job", owner=dict(OWNER), if_running="adopt")


# sshd


@pytest.mark.promise("G6", "sshd's session is killed with -9")
@libraries
async def test_an_agent_ends_with_its_session_and_what_it_was_doing_is_done(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial, library: SSHLibrary
) -> None:
    await far.near.install(programs=scripted("--run-for", "600", "--ignore-term", stopwaitsecs=1))
    await far.near.start()
    await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
    sessions, agents = switches.sessions(far.server), switches.agents(far.server)
    async with open_pipe(resolve(far.model, user_config=None), library=library) as pipe:
        session = [one for one in switches.sessions(far.server) if one not in sessions]
        (agent,) = (one for one in switches.agents(far.server) if one not in agents)
        stopping = asyncio.create_task(
            pipe.request("stop", job="job", owner=None, programs=None, by="a test", reason="stopped")
        )
        await asyncio.to_thread(ledger.wait_for, lambda book: book.signals())
        trial.random.choice(session).send()
        with pytest.raises(HostUnreachable):
            await asyncio.wait_for(stopping, 30)
        await agent.gone()
    stopped = await far.ask(library, "stop", job="job", owner=None, programs=None, by="a test", reason="stopped")
    assert by_process(stopped)["p"]["survivors"] == []
    assert by_process(stopped)["p"]["signal"] == signal.SIGKILL
    assert not ledger.alive()
    await wait_for(lambda: switches.agents(far.server) == agents, "the end of every agent but the test's own")


#: An agent that has less patience than usual.
HASTY_AGENT = """
import sys
from airflow_supervisor_jobs.agent import main
main.SILENCE, main.BEAT = 1.0, 0.1
main.main(sys.argv[1], "")
"""


def test_an_agent_ends_whose_client_neither_speaks_nor_listens(root: Path) -> None:
    root.mkdir(mode=0o700)
    command = [sys.executable, "-c", HASTY_AGENT, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as agent:
        assert agent.stdin is not None
        for _ in range(5000):  # the answers are more than fits into a pipe
            agent.stdin.write(b'{"id": 1, "verb": "ping"}\n')
        assert agent.wait(60) == 0


# What is noticed under a live watch


@pytest.mark.promise("G4", "the program is killed under a watch")
async def test_a_killed_program_is_noticed_and_failed(far: Far, scripted: Scripted) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.near.start()
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        await switches.program(far.near.root).kill()
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.signal) == (Verdict.FAILED, signal.SIGKILL)


@pytest.mark.promise("G4", "the runner is killed under a watch")
async def test_a_killed_runner_is_noticed_and_lost(far: Far, ledger: Ledger, scripted: Scripted) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.near.start()
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        await switches.runner(far.near.root).kill()
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code, judgement.signal) == (Verdict.LOST, None, None)
    assert not ledger.alive()


@pytest.mark.promise("G4", "supervisord is killed under a watch")
async def test_a_killed_supervisord_is_brought_back_and_ends_no_watch(
    far: Far, ledger: Ledger, scripted: Scripted
) -> None:
    await far.near.install(programs=scripted("--run-for", "600", "--on-term-exit", "7"))
    pid = (await far.near.start())["p"]["pid"]
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        await switches.supervisord(far.near.root).kill()
        await far.near.wait(lambda status: status["p"]["state"] == "RUNNING")
        assert set(watching.pids) == {pid}
        os.kill(pid, signal.SIGTERM)
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, 7)
    assert len(ledger.starts()) == 1


@pytest.mark.promise("G4", "the host falls silent, and the program ends meanwhile")
async def test_a_silent_host_is_unreachable_and_what_ended_meanwhile_is_told_when_it_is_back(
    far: Far, scripted: Scripted, trial: Trial, quick_to_notice: None
) -> None:
    code = trial.random.randint(1, 255)
    await far.near.install(programs=scripted("--run-for", "600", "--on-term-exit", str(code)))
    pid = (await far.near.start())["p"]["pid"]
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        far.link.swallow()
        await trial.moment(within=6)
        os.kill(pid, signal.SIGTERM)
        await far.near.wait_ended()
        await watching.until(watching.is_out_of_sight)
        assert not watching.is_over
        far.link.flow()
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, code)


async def test_an_outage_that_outlasts_unreachable_timeout_ends_the_watch_and_leaves_the_job_alone(
    far: Far, ledger: Ledger, scripted: Scripted, quick_to_notice: None
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.near.start()
    policy = WatchPolicy("far", "job", unreachable_timeout=0.5)
    async with Watching(far.pipes, policy=policy) as watching:
        await watching.until(lambda: watching.pids)
        far.link.refuse()
        judgement = await watching.judgement()
    assert judgement.verdict is Verdict.UNREACHABLE
    assert len(ledger.wait_for(lambda book: book.alive())) == 1


@pytest.mark.promise("G6", "the network refuses, resets, cuts and swallows in turn")
async def test_a_flapping_link_fails_no_job_and_costs_no_line(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial, tmp_path: Path, quick_to_notice: None
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"n=0; while read x; do n=$((n+1)); seq 1 100 | sed s/^/$n./; done < {gate}; exit 7"
    await far.near.install(programs={"p": {"command": ["sh", "-c", script]}})
    await far.near.start()
    faults = ["refuse", "reset", "cut", "swallow", "swallow_replies", "reset"]
    trial.random.shuffle(faults)
    async with Watching(far.pipes) as watching:
        with await asyncio.to_thread(gate.open, "w", buffering=1) as talk:
            for fault in faults:
                await watching.until(watching.is_in_sight)
                seen = len(watching.contacts)
                getattr(far.link, fault)()
                talk.write("\n")
                await watching.until(lambda seen=seen: len(watching.contacts) > seen)
                await trial.moment()
                far.link.flow()
                await far.link.accept()
                talk.write("\n")
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, 7)
    assert watching.texts == [f"{n}.{k}" for n in range(1, 2 * len(faults) + 1) for k in range(1, 101)]


async def test_a_slow_link_is_no_outage(far: Far, scripted: Scripted, quick_to_notice: None) -> None:
    await far.near.install(programs=scripted("--print-lines", "50", "--run-for", "1", "--exit-code", "3"))
    far.link.delay_s = 0.05
    await far.near.start()
    async with Watching(far.pipes) as watching:
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, 3)
    assert watching.texts == [f"line {number}" for number in range(1, 51)]
    assert watching.contacts == [True]
