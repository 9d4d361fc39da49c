"""Several hosts at once, each in a network of its own: what befalls one of them is no matter for the others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Host as HostModel
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts import stream
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from tests.faults.campaign.trial import Trial
from tests.faults.conftest import SCRIPTED_JOB
from tests.programs.ledger import Ledger
from tests.services.host import OWNER, Host
from tests.services.network import FarHost, network_obstacle
from tests.services.processes import end_processes_of
from tests.services.watching import Watching

pytestmark = [pytest.mark.openssh]

COUNT = 3


@dataclass
class Site:
    """A host, its job's own witness, and what runs there."""

    server: FarHost
    settings: HostSettings
    root: Path
    ledger: Ledger
    pid: int = 0

    async def run_job(self, *, code: int) -> None:
        """Have a job run that a TERM ends with that code."""
        options = ["--ledger", str(self.ledger.path), "--run-for", "600", "--on-term-exit", str(code)]
        command = [sys.executable, "-S", str(SCRIPTED_JOB), *options]
        async with Host(self.root, settings=self.settings) as host:
            await host.install(programs={"p": {"command": command}})
            self.pid = (await host.start())["p"]["pid"]
        await asyncio.to_thread(self.ledger.wait_for, lambda book: book.alive())


@pytest.fixture
def sites(short_folder: Path, tmp_path: Path) -> Iterator[list[Site]]:
    """Yield hosts with a job each."""
    if (obstacle := network_obstacle()) and (os.getuid() or not os.environ.get("CI")):
        pytest.skip(f"hosts with a network of their own take root and its rights: {obstacle}")
    sites: list[Site] = []
    with ExitStack() as stack:
        for number in range(COUNT):
            server = stack.enter_context(FarHost(short_folder / f"s{number}"))
            root = short_folder / f"r{number}"
            model = HostModel.model_validate(server.host(name=f"far{number}", root=str(root)))
            settings = resolve(model, user_config=None)
            ledger = Ledger(tmp_path / f"ledger{number}.jsonl")
            stack.callback(ledger.end_all)
            sites.append(Site(server, settings, root, ledger))
        yield sites
        survivors = [end_processes_of(site.root) for site in sites]
        assert not any(survivors), f"these outlived their supervisord: {survivors}"


@pytest.mark.promise("G6", "one of several hosts is cut off")
async def test_a_host_that_is_cut_off_is_no_matter_for_the_others(
    sites: list[Site], trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PING_INTERVAL", 1)
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 4)
    pool = Pool(linger=0)
    trial.random.shuffle(sites)
    away, *others = sites
    await asyncio.gather(*(site.run_job(code=number) for number, site in enumerate(sites, 5)))
    async with AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(Watching(lambda site=site: pool.pipe(site.settings))) for site in sites
        ]
        for site, watching in zip(sites, watches, strict=True):
            await watching.until(lambda watching=watching: watching.pids)
            assert set(watching.pids) == {site.pid}
        away.server.unplug()
        os.kill(others[0].pid, signal.SIGTERM)
        ended = await watches[1].judgement()
        assert (ended.verdict, ended.exit_code) == (Verdict.FAILED, 6)
        await watches[0].until(watches[0].is_out_of_sight)
        assert watches[2].contacts == [True]
        os.kill(others[1].pid, signal.SIGTERM)
        assert (await watches[2].judgement()).exit_code == 7
        os.kill(away.pid, signal.SIGTERM)
        await asyncio.to_thread(away.ledger.wait_for, lambda book: book.exits())
        assert not watches[0].is_over
        away.server.plug()
        late = await watches[0].judgement()
        assert (late.verdict, late.exit_code) == (Verdict.FAILED, 5)
    for site in sites:
        assert len(site.ledger.starts()) == 1


@pytest.mark.promise("G1", "one host is cut off in the middle of starts on all")
async def test_starts_on_many_hosts_are_one_copy_each_though_one_is_cut_off(sites: list[Site], trial: Trial) -> None:
    pool = Pool(linger=0)

    async def start(site: Site) -> str:
        async with pool.pipe(site.settings) as pipe:
            answer = await pipe.request("start", job="job", owner=dict(OWNER), if_running="adopt")
        return str(answer["processes"][0]["action"])

    for site in sites:
        await site.run_job(code=0)
        async with Host(site.root, settings=site.settings) as host:
            await host.stop()
    starting = [asyncio.create_task(start(site)) for site in sites]
    await trial.moment()
    sites[0].server.unplug()
    assert await asyncio.gather(*starting[1:]) == ["started"] * (COUNT - 1)
    sites[0].server.plug()
    assert await asyncio.gather(*(start(site) for site in sites[1:])) == ["adopted"] * (COUNT - 1)
    with suppress(HostUnreachable):
        await starting[0]
    assert await start(sites[0]) in ("started", "adopted")
    for site in sites:
        assert len(site.ledger.wait_for(lambda book: len(book.starts()) == 2 and book.alive())) == 1
