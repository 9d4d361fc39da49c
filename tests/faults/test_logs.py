"""Lines come in order, none is lost within the log's retention, and what was lost or held back is counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import pytest

from airflow_supervisor_jobs.core.policy import Forward, WatchPolicy
from airflow_supervisor_jobs.core.verdict import Verdict
from airflow_supervisor_jobs.hosts import budget
from airflow_supervisor_jobs.hosts.watch import Changed, Observation, Output
from tests.faults.campaign.trial import Trial
from tests.services import switches
from tests.services.far import Far
from tests.services.host import wait_for
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.openssh]

BURST = 3000


class Bursts:
    """A program that prints so many numbered lines each time that it is told to, and ends when it is let go."""

    def __init__(self, gate: Path, **program: Any) -> None:
        os.mkfifo(gate)
        script = f"n=0; while read x; do seq $((n+1)) $((n+{BURST})); n=$((n+{BURST})); done < {gate}; exit 7"
        self.programs = {"p": {"command": ["sh", "-c", script], **program}}
        self.told = 0
        self._gate = gate

    async def open(self) -> TextIO:
        """Return what the program is told by: a line for each burst, closed for the end."""
        return await asyncio.to_thread(self._gate.open, "w", buffering=1)

    def more(self, talk: TextIO) -> int:
        """Have it print a burst; return the number of its last line."""
        talk.write("\n")
        self.told += BURST
        return self.told


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def outputs(watching: Watching, stream: str = "stdout") -> list[Output]:
    return [one for _, one in watching.seen if isinstance(one, Output) and one.stream == stream]


def missing_bytes(lines: Iterable[Output]) -> int:
    """Return how many bytes are said to be missing: lost, or held back."""
    found = [re.match(r"\[(\d+) bytes of output are (?:lost|held back)", line.text) for line in lines if line.ours]
    return sum(int(match[1]) for match in found if match)


def in_order(lines: Iterable[Output]) -> bool:
    """Tell whether each line begins where the one before ended, but for the bytes that are said to be missing."""
    end = 0
    for line in lines:
        gone = missing_bytes([line]) if line.position == line.end else 0
        if line.position != end + gone:
            return False
        end = line.end
    return True


def is_ended(process: str) -> Callable[[Observation], bool]:
    return lambda seen: isinstance(seen, Changed) and seen.status.process == process and seen.status.has_ended


# Rotation


@pytest.mark.promise("G3", "the log rotates every 20 kB while the watch reads slowly")
async def test_rotation_under_a_slow_watch_costs_no_line(far: Far, tmp_path: Path, trial: Trial) -> None:
    bursts = Bursts(tmp_path / "gate", stdout_logfile_maxbytes="20KB", stdout_logfile_backups=50)
    await far.near.install(programs=bursts.programs)
    await far.near.start()
    far.be_slow()
    async with Watching(far.pipes) as watching:
        with await bursts.open() as talk:
            for _ in range(12):
                last = bursts.more(talk)
                seen = last - trial.random.randrange(BURST)
                await watching.until(lambda seen=seen: len(watching.texts) >= seen)
        await watching.judgement()
    assert watching.texts == numbers(1, bursts.told)
    assert len(list((far.near.root / "jobs/job/p").glob("stdout.log.*"))) > 3


@pytest.mark.promise("G3", "the log rotates away what the watch has not read")
async def test_what_rotates_away_under_a_slow_watch_is_counted(far: Far, tmp_path: Path) -> None:
    bursts = Bursts(tmp_path / "gate", stdout_logfile_maxbytes="20KB", stdout_logfile_backups=1)
    await far.near.install(programs=bursts.programs)
    await far.near.start()
    far.be_slow()
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        with await bursts.open() as talk:
            for _ in range(60):
                bursts.more(talk)
        await watching.judgement()
    written = sum(len(number) + 1 for number in numbers(1, bursts.told))
    lines = outputs(watching)
    assert in_order(lines)
    assert missing_bytes(lines) > 0
    assert missing_bytes(lines) + sum(line.end - line.position for line in lines if not line.ours) == written
    assert watching.texts[-1] == str(bursts.told)


# Whoever reads


@pytest.mark.promise("G3", "the connection is cut or reset after every few kilobytes")
async def test_cuts_cost_no_line_and_double_none(far: Far, tmp_path: Path, trial: Trial) -> None:
    bursts = Bursts(tmp_path / "gate")
    await far.near.install(programs=bursts.programs)
    await far.near.start()

    def break_again() -> None:
        trial.random.choice([far.link.cut, far.link.reset])()
        far.link.to_client.after(trial.random.randint(10_000, 60_000), break_again)

    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.pids)
        far.link.to_client.after(trial.random.randrange(20_000), break_again)
        with await bursts.open() as talk:
            for _ in range(20):
                bursts.more(talk)
        await watching.judgement()
    assert watching.texts == numbers(1, bursts.told)
    assert watching.contacts.count(False) > 3


@pytest.mark.promise("G3", "the agent is killed with -9 while lines are under way")
async def test_a_killed_agent_costs_no_line_and_doubles_none(far: Far, tmp_path: Path, trial: Trial) -> None:
    bursts = Bursts(tmp_path / "gate")
    await far.near.install(programs=bursts.programs)
    await far.near.start()
    others = switches.agents(far.server)
    async with Watching(far.pipes) as watching:
        with await bursts.open() as talk:
            for _ in range(3):
                await watching.until(watching.is_in_sight)
                seen = len(watching.contacts)
                bursts.more(talk)
                await trial.moment(within=0.05)
                for agent in switches.agents(far.server):
                    if agent not in others:
                        await agent.kill()
                await watching.until(lambda seen=seen: len(watching.contacts) > seen)
        await watching.judgement()
    assert watching.texts == numbers(1, bursts.told)


#: A watch in a process of its own, like a triggerer's: what it prints is what has reached the task's log.
TRIGGERER = """
import asyncio, json, sys
from contextlib import aclosing
from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.hosts.watch import Output, Target, watch

async def main():
    settings = resolve(Host.model_validate(json.loads(sys.argv[1])), user_config=None)
    target = Target("job", owner=json.loads(sys.argv[2]), consumer="task")
    shared = Pool()
    async with aclosing(watch(target, WatchPolicy("far", "job"), pipes=lambda: shared.pipe(settings))) as seen:
        async for one in seen:
            if isinstance(one, Output):
                print(one.text, flush=True)

asyncio.run(main())
"""


@pytest.mark.promise("G3", "the triggerer is killed with -9, and another one goes on")
async def test_after_a_killed_triggerer_only_the_last_lines_come_again(far: Far, tmp_path: Path, trial: Trial) -> None:
    bursts = Bursts(tmp_path / "gate")
    await far.near.install(programs=bursts.programs)
    owner = (await far.near.start())["p"]["owner"]
    command = [sys.executable, "-c", TRIGGERER, far.model.model_dump_json(exclude_defaults=True), json.dumps(owner)]
    first = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert first.stdout is not None
    cursor = far.near.root / "jobs/job/p/cursor/task.json"
    with await bursts.open() as talk:
        kept = bursts.more(talk)
        logged = [(await first.stdout.readline()).decode().rstrip() for _ in range(kept)]
        end = sum(len(line) + 1 for line in logged)
        await wait_for(lambda: cursor.exists() and json.loads(cursor.read_text())["positions"]["stdout"] == end, "ack")
        bursts.more(talk)
        more = trial.random.randrange(BURST)
        logged += [(await first.stdout.readline()).decode().rstrip() for _ in range(more)]
        first.kill()
        logged += (await first.stdout.read()).decode().splitlines()
        await first.wait()
        async with Watching(far.pipes) as watching:
            await watching.until(lambda: watching.texts)
            bursts.more(talk)
            talk.close()
            await watching.judgement()
    begin = int(watching.texts[0])
    assert kept < begin <= len(logged) + 1
    assert logged == numbers(1, len(logged))
    assert watching.texts == numbers(begin, bursts.told)


# What programs print


@pytest.mark.promise("G3", "lines of 1 MB, progress bars, NUL, escapes, bytes that are no text")
async def test_whatever_is_printed_reaches_the_log(far: Far, scripted: Scripted) -> None:
    say = ["--long-line", str(1 << 20), "--invalid-utf8", "--progress", "--to", "both", "--exit-code", "7"]
    await far.near.install(programs=scripted(*say))
    await far.near.start()
    async with Watching(far.pipes) as watching:
        await watching.judgement()
    for stream in ("stdout", "stderr"):
        *pieces, odd, progress = [line.text for line in outputs(watching, stream)]
        cut = " [cut: the line goes on]"
        assert all(piece.endswith(cut) for piece in pieces[:-1])
        assert "".join(piece.removesuffix(cut) for piece in pieces) == "x" * (1 << 20)
        assert odd == r"half a euro \xe2\x82, \xff\xfe, NUL \x00, escape "
        assert progress == "100%"
        assert in_order(outputs(watching, stream))


@pytest.mark.promise("G3", "5 MB right before the exit")
async def test_a_burst_before_the_exit_comes_whole_and_the_exit_is_told_before_it(far: Far, scripted: Scripted) -> None:
    size = 5 << 20
    await far.near.install(programs=scripted("--burst-before-exit", str(size), "--exit-code", "7"))
    far.link.delay_s = 0.01
    await far.near.start()
    async with Watching(far.pipes) as watching:
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, 7)
    assert watching.texts == [f"{number:<63}" for number in range(1, size // 64 + 1)]
    kinds = [one for _, one in watching.seen]
    assert next(at for at, one in enumerate(kinds) if is_ended("p")(one)) < len(kinds) - size // 128


@pytest.mark.promise("G3", "a flood in one program while another one ends")
async def test_a_flood_does_not_hold_up_what_another_program_does(far: Far, scripted: Scripted, trial: Trial) -> None:
    flood = "n=0; while :; do seq $((n+1)) $((n+2000)); n=$((n+2000)); sleep 0.005; done"
    side = {"side": {**scripted("--run-for", "600")["p"], "essential": False}}
    await far.near.install(programs={"flood": {"command": ["sh", "-c", flood]}, **side})
    await far.near.start()
    log = far.near.root / "jobs/job/flood/stdout.log"
    far.be_slow()
    async with Watching(far.pipes) as watching:
        await watching.until(lambda: watching.texts)
        await wait_for(lambda: log.stat().st_size > outputs(watching)[-1].end + (6 << 20), "a backlog")
        written = log.stat().st_size
        await switches.program(far.near.root, "side").kill()
        await watching.until(lambda: any(is_ended("side")(one) for _, one in watching.seen))
        assert outputs(watching)[-1].end < written
    assert watching.texts == numbers(1, len(watching.texts))
    far.link.delay_s = 0


# The budget


@pytest.mark.promise("G3", "gigabytes at `max_log_rate`: what is held back is counted, the end is not delayed")
async def test_what_is_held_back_before_the_end_is_counted_and_the_last_lines_are_told(
    far: Far, scripted: Scripted
) -> None:
    size = 20 << 20
    await far.near.install(programs=scripted("--burst-before-exit", str(size), "--exit-code", "7"))
    await far.near.start()
    async with Watching(far.pipes, policy=WatchPolicy("far", "job", max_log_rate=10_000)) as watching:
        judgement = await watching.judgement()
    assert (judgement.verdict, judgement.exit_code) == (Verdict.FAILED, 7)
    lines = outputs(watching)
    told = sum(line.end - line.position for line in lines if not line.ours)
    assert in_order(lines)
    assert missing_bytes(lines) + told == size
    assert told < 1 << 20
    assert [line.text.strip() for line in lines[-100:]] == numbers(size // 64 - 99, size // 64)
    assert judgement.last_lines[-1].strip() == str(size // 64)


async def test_after_too_much_the_newest_lines_are_told_while_the_program_runs(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "BURST_S", 1)
    monkeypatch.setattr(budget, "LEAST_BURST_BYTES", 4096)
    bursts = Bursts(tmp_path / "gate")
    await far.near.install(programs=bursts.programs)
    await far.near.start()
    async with Watching(far.pipes, policy=WatchPolicy("far", "job", max_log_rate=4096)) as watching:
        await watching.until(lambda: watching.pids)
        with await bursts.open() as talk:
            for _ in range(50):
                last = bursts.more(talk)
            await watching.until(lambda: watching.texts[-1:] == [str(last)])
            assert not watching.is_over
            last = bursts.more(talk)
            await watching.until(lambda: watching.texts[-1:] == [str(last)])
        await watching.judgement()
    lines = outputs(watching)
    assert in_order(lines)
    written = sum(len(number) + 1 for number in numbers(1, bursts.told))
    assert missing_bytes(lines) + sum(line.end - line.position for line in lines if not line.ours) == written
    held = next(line.text for line in lines if line.ours)
    assert re.search(r"supervisor-jobs logs job --program p --since \S+Z\]$", held)


@pytest.mark.parametrize(("forward", "told"), [(Forward.TAIL, 100), (Forward.NONE, 0)])
async def test_of_a_job_without_live_lines_the_end_tells_what_was_asked_for(
    far: Far, scripted: Scripted, forward: Forward, told: int
) -> None:
    await far.near.install(programs=scripted("--print-lines", "5000", "--exit-code", "7"))
    await far.near.start()
    async with Watching(far.pipes, policy=WatchPolicy("far", "job", forward_logs=forward)) as watching:
        judgement = await watching.judgement()
    lines = outputs(watching)
    assert [line.text for line in lines if not line.ours] == [f"line {n}" for n in range(5001 - told, 5001)]
    assert bool(missing_bytes(lines)) == bool(told)
    assert judgement.last_lines[-1] == "line 5000"
