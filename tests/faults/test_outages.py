"""Outages of every kind: no job fails of one, none is called dead, and the truth comes when the host is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from airflow_supervisor_jobs.agent import main as agent
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.hosts import asyncssh_pipe, paramiko_pipe, refusals, stream
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from tests.faults.campaign.trial import TRIALS, Trial
from tests.programs.ledger import Ledger
from tests.services import switches
from tests.services.far import Far
from tests.services.host import wait_for
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]
Outage = Callable[[Far, Trial], AbstractAsyncContextManager[None]]

pytestmark = [pytest.mark.openssh]

libraries = pytest.mark.parametrize("library", list(SSHLibrary), ids=lambda library: library.value)
#: How often somebody knocks in vain before an outage is over.
TRIES = 4
#: How often a connection is lost.
LOSSES = 10 if TRIALS > 1 else 4


@pytest.fixture
def impatient(far: Far, monkeypatch: pytest.MonkeyPatch) -> HostSettings:
    """Return what leads through the link, with every patience of ours down to seconds."""
    monkeypatch.setattr(stream, "PING_INTERVAL", 1)
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 4)
    monkeypatch.setattr(refusals, "REFUSED_PATIENCE", 0.2)
    for module in (paramiko_pipe, asyncssh_pipe):
        monkeypatch.setattr(module, "SESSION_WAIT", 2)
    settings = resolve(far.model, user_config=None)
    assert settings.ssh is not None
    hasty = replace(settings.ssh, conn_timeout=2, banner_timeout=2, auth_timeout=2)
    return replace(settings, ssh=hasty, start_timeout=2)


class Way:
    """The way of a watch to its host: the triggerer's, which is shared, or a worker's own.

    :ivar tried: how often somebody set out on it.
    """

    def __init__(self, settings: HostSettings, library: SSHLibrary) -> None:
        self.tried = 0
        self._settings = settings
        self._pool = Pool(linger=0) if library is SSHLibrary.ASYNCSSH else None

    def __call__(self) -> AbstractAsyncContextManager[Pipe]:
        self.tried += 1
        return self._pool.pipe(self._settings) if self._pool else open_pipe(self._settings)


# The outages; each is over at the end of its block


@asynccontextmanager
async def refused(far: Far, trial: Trial) -> AsyncIterator[None]:
    """Nobody listens."""
    far.link.refuse()
    yield
    await far.link.accept()


@asynccontextmanager
async def swallowed(far: Far, trial: Trial) -> AsyncIterator[None]:
    """Whatever is sent is swallowed, and nobody is told."""
    far.link.swallow()
    yield
    far.link.flow()


@asynccontextmanager
async def without_a_word(far: Far, trial: Trial) -> AsyncIterator[None]:
    """The system of the host accepts, and its sshd says nothing."""
    far.server.freeze()
    far.link.reset()
    yield
    far.server.thaw()


@asynccontextmanager
async def slow_to_let_in(far: Far, trial: Trial) -> AsyncIterator[None]:
    """Everybody may log in, and the login script goes on until the outage is over."""
    over = far.server.folder / "over"
    (far.server.home / ".bashrc").write_text(f"until [ -e {over} ]; do sleep 0.05; done\n")
    far.link.reset()
    yield
    over.touch()


@asynccontextmanager
async def cut_short(far: Far, trial: Trial) -> AsyncIterator[None]:
    """Every connection is reset as soon as its client has heard a little."""

    def reset() -> None:
        far.link.reset()
        far.link.to_client.after(trial.random.randrange(1, 2000), reset)

    reset()
    yield
    far.link.to_client.after(0, lambda: None)


@pytest.mark.promise("G6", "nobody listens, silence, a dumb sshd, a slow login, cut short again and again")
@libraries
@pytest.mark.parametrize("outage", [refused, swallowed, without_a_word, slow_to_let_in, cut_short])
async def test_what_ends_during_an_outage_is_told_after_it(
    far: Far,
    ledger: Ledger,
    scripted: Scripted,
    trial: Trial,
    impatient: HostSettings,
    library: SSHLibrary,
    outage: Outage,
) -> None:
    code = trial.random.randint(1, 255)
    await far.near.install(programs=scripted("--run-for", "600", "--on-term-exit", str(code)))
    pid = (await far.near.start())["p"]["pid"]
    way = Way(impatient, library)
    async with Watching(way) as watching:
        await watching.until(lambda: watching.pids)
        async with outage(far, trial):
            await watching.until(watching.is_out_of_sight)
            tried = way.tried + far.link.accepted
            await wait_for(lambda: way.tried + far.link.accepted >= tried + TRIES, "more tries", within=60)
            os.kill(pid, signal.SIGTERM)
            await asyncio.to_thread(ledger.wait_for, lambda book: book.exits())
            assert not watching.is_over
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, code)
    assert watching.contacts == [True, False, True]
    assert len(ledger.starts()) == 1


@pytest.mark.promise("G6", "an outage without an end of the program: the watch goes on")
@libraries
async def test_what_runs_through_an_outage_runs_on_and_nothing_is_concluded(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial, impatient: HostSettings, library: SSHLibrary
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    pid = (await far.near.start())["p"]["pid"]
    async with Watching(Way(impatient, library)) as watching:
        await watching.until(lambda: watching.pids)
        for outage in (swallowed, refused):
            async with outage(far, trial):
                await watching.until(watching.is_out_of_sight)
            await watching.until(watching.is_in_sight)
        assert set(watching.pids) == {pid}
        assert not watching.is_over
    assert [entry.pid for entry in ledger.alive()] == [pid]


# Both sides find out, and nothing is left over


def test_each_side_misses_the_other_after_more_than_one_lost_sign_of_life() -> None:
    assert 2 * agent.BEAT < stream.SILENCE_LIMIT <= 30
    assert 2 * stream.PING_INTERVAL < agent.SILENCE
    assert stream.SILENCE_LIMIT <= agent.SILENCE


@pytest.mark.promise("G6", "the connection is lost again and again: one agent")
@libraries
async def test_a_host_has_one_agent_however_often_it_was_lost(
    far: Far, scripted: Scripted, trial: Trial, impatient: HostSettings, library: SSHLibrary
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.near.start()
    own = switches.agents(far.server)
    patient = replace(impatient, start_timeout=30)
    async with Watching(Way(patient, library)) as watching:
        for _ in range(LOSSES):
            await watching.until(watching.is_in_sight)
            seen = len(watching.contacts)
            getattr(far.link, trial.random.choice(["reset", "cut", "swallow", "swallow_replies"]))()
            await watching.until(lambda seen=seen: len(watching.contacts) > seen)
            far.link.flow()
        await watching.until(watching.is_in_sight)
        await wait_for(lambda: len(switches.agents(far.server)) == len(own) + 1, "one agent beside the test's own")
    await wait_for(lambda: switches.agents(far.server) == own, "the end of every agent but the test's own")


@pytest.mark.skipif(TRIALS == 1, reason="it waits for the agent's own patience, a minute: make faults")
@pytest.mark.timeout(300)
@pytest.mark.promise("G6", "a client is never heard of again: its agent ends by itself", weight=0.1)
async def test_an_agent_ends_by_itself_when_its_client_is_never_heard_of_again(
    far: Far, scripted: Scripted, ledger: Ledger, impatient: HostSettings
) -> None:
    await far.near.install(programs=scripted("--run-for", "600"))
    await far.near.start()
    own = switches.agents(far.server)
    async with Watching(Way(impatient, SSHLibrary.ASYNCSSH)) as watching:
        await watching.until(lambda: watching.pids)
        (lost,) = (one for one in switches.agents(far.server) if one not in own)
        far.link.swallow()
        await wait_for(lambda: not lost.is_alive(), "the end of an agent that hears nothing", within=150)
        assert not watching.is_over
        far.link.flow()
        await watching.until(watching.is_in_sight)
    assert len(ledger.alive()) == 1
