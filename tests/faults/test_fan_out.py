"""Many jobs, many workers, many hosts: few connections, few handshakes at a time, and everybody gets in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_supervisor_jobs.config import Host as HostModel
from airflow_supervisor_jobs.config import Job, render_spec
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.exceptions import HostUnreachable
from airflow_supervisor_jobs.hosts import handshake
from airflow_supervisor_jobs.hosts.address import HostSettings
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.watch import Target
from tests.faults.campaign.trial import TRIALS, Trial
from tests.programs.ledger import Ledger
from tests.services import switches
from tests.services.embedded_ssh import Doors, EmbeddedSSH
from tests.services.far import Far
from tests.services.host import OWNER, Host, wait_for
from tests.services.sshd import OpenSSH
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]

#: Fewer, where a change is tested.
JOBS, HOSTS, ROOTS = (1000, 100, 50) if TRIALS > 1 else (50, 20, 15)
#: Their number, and over how many processes they are spread.
WORKERS, PROCESSES = (30, 30) if TRIALS > 1 else (30, 3)
#: How many requests are under way at once while a host is filled.
AT_A_TIME = 25
#: Seconds that all of them together may take, on a machine that has other work.
PATIENCE = 400


# Many jobs on one host


@pytest.mark.openssh
@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.promise("G7", "all watches of a host begin at once: a restart, an outage", weight=0.1)
async def test_watches_that_begin_at_once_share_one_connection(
    far: Far, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    trial.tried = JOBS
    codes = {f"job{number}": number % 200 + 1 for number in range(JOBS)}
    pids = await fill(far.near, scripted, codes)
    await asyncio.to_thread(ledger.wait_for, lambda book: len(book.alive()) == JOBS, PATIENCE)
    before = far.server.logins()
    async with watching_all(far, codes):
        assert far.server.logins() == before + 1
    async with watching_all(far, codes) as watches:
        assert far.server.logins() == before + 2
        far.link.reset()
        for watching in watches.values():
            await watching.until(lambda watching=watching: watching.contacts == [True, False, True], within=PATIENCE)
        assert far.server.logins() == before + 3
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        ended = {job: await watching.judgement(within=PATIENCE) for job, watching in watches.items()}
    assert {job: (one.verdict, one.exit_code) for job, one in ended.items()} == {
        job: (Verdict.FAILED, code) for job, code in codes.items()
    }
    assert len(ledger.starts()) == JOBS
    assert not far.server.is_overrun()


async def fill(host: Host, scripted: Scripted, codes: dict[str, int]) -> dict[str, int]:
    """Have jobs run that a TERM ends with those codes; return the pids of their programs."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def install(job: str) -> None:
        async with gate:
            end = ["--on-term-exit", str(codes[job])]
            programs = scripted("--run-for", "3600", "--beat-every", "60", *end)
            spec = render_spec(Job.model_validate({"name": job, "programs": programs}))
            await host.pipe.request("install", spec=spec, owner=OWNER, if_running="adopt")

    async def start(job: str) -> int:
        async with gate:
            return int((await host.start(job))["p"]["pid"])

    # All before there is a supervisord, which would read all of them again after each.
    await asyncio.gather(*map(install, codes))
    await host.pipe.request("start_supervisord", job=next(iter(codes)))
    return dict(zip(codes, await asyncio.gather(*map(start, codes)), strict=True))


@asynccontextmanager
async def watching_all(far: Far, codes: dict[str, int]) -> AsyncIterator[dict[str, Watching]]:
    """Watch them all from one moment on, as a triggerer does that has just begun; every one is in sight."""
    pool = Pool(linger=0)
    settings = resolve(far.model, user_config=None)
    async with AsyncExitStack() as stack:
        watches = {job: Watching(lambda: pool.pipe(settings), Target(job, owner=OWNER, consumer="t")) for job in codes}
        for watching in watches.values():
            await stack.enter_async_context(watching)
        for watching in watches.values():
            await watching.until(lambda watching=watching: watching.pids, within=PATIENCE)
        yield watches


@pytest.mark.openssh
@pytest.mark.promise("G7", "a flood from one job on a fast link while another one ends")
async def test_a_flood_of_one_job_does_not_hold_up_another_jobs_end(far: Far, scripted: Scripted) -> None:
    size, width = 50_000_000, 50_000
    print_all = f"head -c {size} /dev/zero | tr '\\0' x | fold -w {width}; exec sleep 600"
    await far.near.install(name="flood", programs={"p": {"command": ["sh", "-c", print_all]}})
    await far.near.install(name="side", programs=scripted("--run-for", "600"))
    for job in ("flood", "side"):
        await far.near.start(job)
    log = far.near.root / "jobs/flood/p/stdout.log"
    async with (
        Watching(far.pipes, Target("flood", owner=OWNER, consumer="task")) as much,
        Watching(far.pipes, Target("side", owner=OWNER, consumer="task")) as little,
    ):
        await asyncio.gather(much.until(lambda: much.texts), little.until(lambda: little.pids))
        await wait_for(lambda: log.stat().st_size >= size, "all of the flood")
        await switches.program(far.near.root, job="side").kill()
        assert (await little.judgement()).signal == signal.SIGKILL
        assert len(much.texts) < size / width, "the flood was over before"


# Many workers at one host


#: A process of workers, who ask a host for something as soon as they are told to.
WORKER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.hosts import bootstrap, paramiko_pipe
from airflow_supervisor_jobs.triggers import reach

def ask(_):
    return reach.ask(host, "start", **params)["processes"][0]["action"]

count, host, params = json.loads(sys.argv[1])
host = Host.model_validate(host)
bootstrap.our_agent()
print("here", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(count) as workers:
    print(*workers.map(ask, range(count)))
"""


@pytest.mark.openssh
@pytest.mark.timeout(PATIENCE)
@pytest.mark.promise("G7", "many workers at once, an sshd with little room, a slow login script", weight=0.5)
async def test_workers_that_come_at_once_all_get_in_and_start_one_copy(
    short_folder: Path, root: Path, ledger: Ledger, scripted: Scripted, trial: Trial
) -> None:
    trial.tried = WORKERS
    with OpenSSH(short_folder / "s", options={"MaxStartups": "2:50:5"}) as server:
        (server.home / ".bashrc").write_text("sleep 0.5\n")
        async with Host(root) as host:
            await host.install(programs=scripted("--run-for", "600"))
        order = {"job": "job", "owner": OWNER, "programs": None, "if_running": "adopt", "by": "a test"}
        told = json.dumps([WORKERS // PROCESSES, server.host(name="far", root=str(root)), order])
        actions = await asyncio.to_thread(ask_at_once, [sys.executable, "-c", WORKER, told])
        assert Counter(actions) == {"started": 1, "adopted": WORKERS - 1}
        assert server.is_overrun()
        await wait_for(lambda: not switches.agents(server), "the end of every agent")
    assert len(ledger.starts()) == len(ledger.alive()) == 1


def ask_at_once(command: list[str]) -> list[str]:
    """Return what each of the workers was answered, all told to go at one moment."""
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        workers = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(PROCESSES)]
        for worker in workers:
            assert worker.stdout.readline() == "here\n", worker.communicate()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = [worker.communicate(timeout=PATIENCE) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * PROCESSES, said
    return [action for answer, _ in said for action in answer.split()]


# Many hosts from one triggerer


@pytest.fixture
def doors() -> Doors:
    """Return what counts who knocks at any of the hosts."""
    return Doors()


@pytest.fixture
def servers(short_folder: Path, doors: Doors) -> Iterator[list[EmbeddedSSH]]:
    """Yield hosts whose server is not OpenSSH's."""
    with ExitStack() as stack:
        yield [stack.enter_context(EmbeddedSSH(short_folder / f"h{number}", doors=doors)) for number in range(HOSTS)]


@pytest.mark.timeout(PATIENCE)
@pytest.mark.promise("G7", "one triggerer connects to many hosts at once, and again when all have hung up", weight=0.5)
async def test_hosts_that_are_connected_to_at_once_are_shaken_hands_with_by_and_by(
    servers: list[EmbeddedSSH], doors: Doors, short_folder: Path, monkeypatch: pytest.MonkeyPatch, trial: Trial
) -> None:
    trial.tried = HOSTS
    monkeypatch.setattr(handshake, "HANDSHAKES", 8)
    monkeypatch.setattr(handshake, "TURN_S", PATIENCE)  # so that all are counted, however slow the machine is
    hosts = [settings_of(server, f"far{number}", short_folder / f"r{number}") for number, server in enumerate(servers)]
    pool = Pool(linger=0)
    async with all_held(pool, hosts) as pipes:
        for server in servers:
            server.drop_connections()
        for pipe in pipes:
            with pytest.raises(HostUnreachable):
                await pipe.request("ping")
        async with all_held(pool, hosts):
            assert [server.logins for server in servers] == [2] * HOSTS
    assert 1 < doors.most <= 8


@pytest.mark.openssh
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("is_gateway", [False, True], ids=["itself", "as a gateway"])
@pytest.mark.promise("G7", "many connections to one sshd from one triggerer, also through it", weight=0.5)
async def test_an_sshd_by_its_defaults_drops_none_of_one_triggerers_connections(
    openssh: OpenSSH, short_folder: Path, is_gateway: bool, trial: Trial
) -> None:
    trial.tried = ROOTS
    way = {"proxy_jump": f"{openssh.username}@{openssh.hostname}:{openssh.port}"} if is_gateway else {}
    hosts = [settings_of(openssh, f"far{number}", short_folder / f"r{number}", **way) for number in range(ROOTS)]
    async with all_held(Pool(linger=0), hosts):
        assert openssh.logins() == (1 + is_gateway) * ROOTS
    assert not openssh.is_overrun()


def settings_of(server: OpenSSH | EmbeddedSSH, name: str, root: Path, **more: Any) -> HostSettings:
    """Return what leads to a host."""
    return resolve(HostModel.model_validate(server.host(name=name, root=str(root), **more)), user_config=None)


@asynccontextmanager
async def all_held(pool: Pool, hosts: list[HostSettings]) -> AsyncIterator[list[Pipe]]:
    """Ask for every one of them at the same time; each answers for itself."""
    async with AsyncExitStack() as stack:
        pipes = await asyncio.gather(*(stack.enter_async_context(pool.pipe(settings)) for settings in hosts))
        assert [(await pipe.open())["root"] for pipe in pipes] == [settings.root for settings in hosts]
        yield pipes
