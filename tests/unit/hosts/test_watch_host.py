"""The watch on a real host: real supervisord, real processes, things done behind its back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.hosts.base import Pipe
from airflow_supervisor_jobs.hosts.connect import open_pipe
from airflow_supervisor_jobs.hosts.watch import Concluded, Output, watch
from tests.services import watching as services
from tests.services.host import OTHER, OWNER, Host, wait_for
from tests.services.watching import MINE


@pytest.fixture
async def host(root: Path) -> AsyncIterator[Host]:
    async with Host(root) as host:
        yield host


class Watching(services.Watching):
    """A watch of the host's job, and the pipes that it has opened."""

    def __init__(self, host: Host) -> None:
        self.pipes: list[Pipe] = []
        self._host = host
        super().__init__(self._pipe)

    def _pipe(self) -> Pipe:
        self.pipes.append(open_pipe(self._host.settings))
        return self.pipes[-1]


async def supervisorctl(host: Host, *words: str) -> None:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(host.root / "supervisord.conf"), *words]
    done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await done.communicate()
    assert done.returncode == 0, said


async def test_a_burst_before_the_end_comes_whole_and_in_order(host: Host) -> None:
    await host.install(programs={"burst": {"command": "sh -c 'seq 1 300000; exit 3'"}})
    await host.start()

    watching = Watching(host)
    conclusion = await watching.conclusion()

    assert watching.texts == [str(number) for number in range(1, 300_001)]
    assert conclusion.judgement.exit_code == 3
    assert conclusion.judgement.last_lines[-1] == "300000"


async def test_reported_once_and_then_started_anew(host: Host) -> None:
    await host.install(programs={"one": {"command": "echo one"}})
    await host.start()
    await host.wait_ended()

    assert (await host.start())["one"]["action"] == "ended"
    assert (await Watching(host).conclusion()).judgement.verdict is Verdict.FINISHED
    assert (await host.start())["one"]["action"] == "started"


async def test_a_cut_connection_costs_no_line_and_doubles_none(host: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await host.install(
        programs={"one": {"command": ["sh", "-c", f"seq 1 1000; printf half; read x < {gate}; seq 1 1000"]}}
    )
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: len(watching.texts) == 1000)

    await watching.pipes[-1].close()
    await asyncio.to_thread(gate.write_text, "go\n")

    await watching.conclusion()
    first = [str(number) for number in range(1, 1001)]
    assert watching.texts == [*first, "half1", *first[1:]]
    assert len(watching.pipes) == 2


async def test_a_new_watch_goes_on_where_the_last_one_was_left(host: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await host.install(programs={"one": {"command": ["sh", "-c", f"seq 1 100; read x < {gate}; echo end"]}})
    await host.start()
    seen: list[str] = []
    observations = watch(MINE, WatchPolicy("here", "job"), pipes=lambda: open_pipe(host.settings))
    async with aclosing(observations):
        async for one in observations:
            if isinstance(one, Output):
                if len(seen) == 60:
                    break
                seen.append(one.text)
    await asyncio.to_thread(gate.write_text, "go\n")

    watching = Watching(host)
    await watching.conclusion()

    assert seen + watching.texts == [*map(str, range(1, 101)), "end"]


async def test_a_single_look_tells_the_lines_of_a_program_that_goes_on(host: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await host.install(programs={"one": {"command": ["sh", "-c", f"seq 1 1000; read x < {gate}; echo end"]}})
    await host.start()
    written = host.root / "jobs/job/one/stdout.log"
    await wait_for(lambda: written.exists() and written.read_text().endswith("\n1000\n"), "the lines")

    assert await look(host, WatchPolicy("here", "job")) == [str(number) for number in range(1, 1001)]
    assert await look(host, WatchPolicy("here", "job")) == []

    await asyncio.to_thread(gate.write_text, "go\n")
    await host.wait_ended()
    assert await look(host, WatchPolicy("here", "job")) == ["end"]


async def test_a_single_look_at_too_much_tells_the_newest_and_counts_the_rest(host: Host) -> None:
    await host.install(programs={"one": {"command": ["sh", "-c", "seq 1 1000000; sleep 1000"]}})
    await host.start()
    written = host.root / "jobs/job/one/stdout.log"
    await wait_for(lambda: written.exists() and written.read_text().endswith("\n1000000\n"), "the lines")

    texts = await look(host, WatchPolicy("here", "job", max_log_rate=1000))

    (held,) = [at for at, text in enumerate(texts) if "are held back here" in text]
    assert texts[:3] == ["1", "2", "3"]
    assert texts[held + 1 :] == [str(number) for number in range(999_901, 1_000_001)]
    assert await look(host, WatchPolicy("here", "job")) == []


async def look(host: Host, policy: WatchPolicy) -> list[str]:
    """Return the lines of a single look."""
    looking = watch(MINE, policy, pipes=lambda: open_pipe(host.settings), once=True)
    async with aclosing(looking):
        return [one.text async for one in looking if isinstance(one, Output)]


async def test_a_stop_by_a_person(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    await host.stop()

    judgement = (await watching.conclusion()).judgement
    assert (judgement.verdict, judgement.signal) == (Verdict.STOPPED, signal.SIGTERM)
    assert "was stopped by a test" in judgement.message


async def test_supervisorctl_stop(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    await supervisorctl(host, "stop", "job:one")

    judgement = (await watching.conclusion()).judgement
    assert judgement.verdict is Verdict.STOPPED
    assert "not by us (supervisorctl" in judgement.message


async def test_supervisorctl_restart_is_no_end(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    await supervisorctl(host, "restart", "job:one")

    await watching.until(lambda: len(set(watching.pids)) == 2)
    os.kill(watching.pids[-1], signal.SIGKILL)
    judgement = (await watching.conclusion()).judgement
    assert (judgement.verdict, judgement.signal) == (Verdict.FAILED, signal.SIGKILL)


async def test_our_restart_is_no_end_either(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    await host.start(verb="restart")

    await watching.until(lambda: len(set(watching.pids)) == 2)
    await host.stop()
    assert (await watching.conclusion()).judgement.verdict is Verdict.STOPPED


async def test_restarts_in_place_go_on_until_they_are_used_up(host: Host) -> None:
    restart = {"attempts": 2, "delay": 0.01, "jitter": 0}
    program = {"command": "sh -c 'echo try; exit 4'", "autorestart": "unexpected", "restart": restart}
    await host.install(programs={"one": program})
    await host.start()

    watching = Watching(host)
    judgement = (await watching.conclusion()).judgement

    assert watching.texts == ["try"] * 3
    assert "exited with 4 after 2 restarts" in judgement.message


async def test_a_new_order_begins_with_its_own_output(host: Host) -> None:
    await host.install(programs={"one": {"command": "echo theirs"}})
    await host.start(owner=OTHER)
    await host.wait_ended()
    await host.install(programs={"one": {"command": "echo mine"}})
    await host.start()

    watching = Watching(host)
    await watching.conclusion()

    assert watching.texts == ["mine"]


async def test_a_killed_runner_is_lost(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    runner = (await host.start())["one"]["runner_pid"]
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    os.kill(runner, signal.SIGKILL)

    assert (await watching.conclusion()).judgement.verdict is Verdict.LOST


async def test_another_owner_takes_over(host: Host) -> None:
    await host.install(programs={"one": {"command": "sleep 1000"}})
    await host.start()
    watching = Watching(host)
    await watching.until(lambda: watching.pids)

    await host.start(owner=OTHER)

    judgement = (await watching.conclusion()).judgement
    assert judgement.verdict is Verdict.SUPERSEDED
    assert "run_id 2" in judgement.message


async def test_a_job_that_is_removed(host: Host) -> None:
    await host.install(programs={"one": {"command": "true"}, "two": {"command": "true"}})
    watching = Watching(host)
    await watching.until(lambda: watching.seen)

    await host.pipe.request("remove", job="job", owner=OWNER, purge=True)

    assert (await watching.conclusion()).judgement.verdict is Verdict.LOST


async def test_a_host_that_cannot_keep_a_report_costs_no_verdict(host: Host) -> None:
    await host.install(programs={"one": {"command": "sh -c 'exit 4'"}})
    (host.root / "jobs/job/one/cursor").touch()  # no folder can be made there, as on a full disk
    await host.start()

    async with aclosing(watch(MINE, WatchPolicy("here", "job"), pipes=lambda: open_pipe(host.settings))) as watching:
        async for seen in watching:
            if isinstance(seen, Concluded):
                assert seen.judgement.exit_code == 4
                assert await seen.confirm() is False


async def test_reports_that_come_at_once_are_all_kept(host: Host) -> None:
    await host.install(programs={"one": {"command": "true"}})
    tell = {"job": "job", "consumer": "task"}
    await asyncio.gather(
        *(host.pipe.request("ack", **tell, positions={"one": {"stdout": n}}, reported={"one": n}) for n in range(1, 51))
    )
    assert json.loads((host.root / "jobs/job/one/cursor/task.json").read_text())["reported"] == 50
