"""Output is read by position, over rotations, in order, and what is gone is counted."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services.host import OWNER, Host, wait_for

SCRIPT = Path(__file__).parents[2] / "programs/scripted_job.py"
LINES = 20_000


def printing(tmp_path: Path, *options: str, **program: Any) -> dict[str, Any]:
    command = [sys.executable, "-S", str(SCRIPT), "--ledger", str(tmp_path / "ledger"), *options]
    return {"p": {"command": command, **program}}


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


async def follow(host: Host, consumer: str | None = "c", *, until: int, start: Any = "cursor") -> tuple[bytes, int]:
    """Return what a watch delivers up to a position, and how much it says was lost."""
    answer = await host.pipe.request(
        "watch", job="job", owner=OWNER, consumer=consumer, logs=True, start=start, credit=1 << 30
    )
    found, lost, reached = b"", 0, 0
    if answer["from"]["p"]["stdout"] < until:
        async for event in host.pipe.events(answer["sub"]):
            if event["event"] == "log":
                found += (data := base64.b64decode(event["data"]))
                lost += event["lost"]
                reached = event["position"] + len(data)
            if reached >= until:
                break
    await host.pipe.request("unwatch", sub=answer["sub"])
    return found, lost


async def test_a_watch_follows_every_line_over_rotations(root: Path, tmp_path: Path) -> None:
    expected = lines(1, LINES)
    programs = printing(
        tmp_path, "--print-lines", str(LINES), stdout_logfile_maxbytes="20KB", stdout_logfile_backups=50
    )
    async with Host(root) as host:
        await host.install(programs=programs)
        await host.start()
        found, lost = await follow(host, until=len(expected))
        await host.wait_ended()
        is_the_same = found == expected  # which pytest would take minutes to explain
        assert (lost, len(found), is_the_same) == (0, len(expected), True)
        assert len(list((root / "jobs/job/p").glob("stdout.log.*"))) > 1


async def test_what_retention_took_is_counted(root: Path, tmp_path: Path) -> None:
    expected = lines(1, LINES)
    programs = printing(tmp_path, "--print-lines", str(LINES), stdout_logfile_maxbytes="20KB", stdout_logfile_backups=2)
    async with Host(root) as host:
        await host.install(programs=programs)
        await host.start()
        await host.wait_ended()
        found, lost = await follow(host, until=len(expected))
        assert found
        assert expected.endswith(found)
        assert lost + len(found) == len(expected)


async def test_a_consumer_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=printing(tmp_path, "--print-lines", "10"))
        await host.start()
        await host.wait_ended()
        middle = len(lines(1, 4))
        await host.pipe.request("ack", job="job", consumer="c", positions={"p": {"stdout": middle}}, reported={})
    async with Host(root) as host:
        assert await follow(host, until=len(lines(1, 10))) == (lines(5, 10), 0)
        assert await follow(host, "another", until=len(lines(1, 10))) == (lines(1, 10), 0)
        assert await follow(host, None, until=len(lines(1, 10)), start=3) == (lines(8, 10), 0)


async def test_an_acknowledgement_that_comes_after_a_purge_leaves_nothing(root: Path, tmp_path: Path) -> None:
    async with Host(root) as host:
        await host.install(programs=printing(tmp_path, "--print-lines", "1"))
        await host.start()
        await host.wait_ended()
        await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
        await host.pipe.request("ack", job="job", consumer="c", positions={"p": {"stdout": 7}}, reported={"p": 1})
        assert not (root / "jobs/job").exists()


async def test_generations_are_told_apart(root: Path, tmp_path: Path) -> None:
    async with Host(root) as host:
        for number in (1, 2, 3):
            await host.install({"run": str(number)}, programs={"p": {"command": ["echo", f"generation {number}"]}})
            await host.start(owner={"run": str(number)})
            await host.wait_ended()
        assert await host.output("p") == b"generation 1\ngeneration 2\ngeneration 3\n"
        answer = await host.pipe.request("logs", job="job", process="p", stream="stdout", generation=2)
        assert [base64.b64decode(chunk["data"]) for chunk in answer["chunks"]] == [b"generation 2\n"]
        status = (await host.status())["p"]
        assert status["positions"]["stdout"] == {"start": 26, "end": 39}


@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"line 10\n"), (3, lines(8, 10)), (99, lines(1, 10))])
async def test_the_last_lines(root: Path, tmp_path: Path, tail: int, expected: bytes) -> None:
    async with Host(root) as host:
        await host.install(programs=printing(tmp_path, "--print-lines", "10"))
        await host.start()
        await host.wait_ended()
        assert await host.output("p", tail=tail) == expected


async def test_both_streams_and_bytes_that_are_no_text(root: Path, tmp_path: Path) -> None:
    async with Host(root) as host:
        await host.install(programs={"p": {"command": ["sh", "-c", r"printf 'a\377\000\033[1mb\n'; printf 'err' >&2"]}})
        await host.start()
        await host.wait_ended()
        assert await host.output("p") == b"a\377\000\033[1mb\n"
        assert await host.output("p", "stderr") == b"err"


async def test_output_goes_on_after_supervisorctl_clear(root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = ["sh", "-c", f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after"]
    async with Host(root) as host:
        await host.install(programs={"p": {"command": command}})
        await host.start()
        await host.wait(lambda s: (root / "jobs/job/p/stdout.log").read_bytes() == b"before\n")
        subprocess.run([root / "bin/supervisorctl", "clear", "job:p"], check=True, capture_output=True)
        gate.touch()
        await host.wait_ended()
        assert (root / "jobs/job/p/stdout.log").read_bytes() == b"after\n"
        assert await follow(host, until=len("before\nafter\n")) == (b"after\n", len("before\n"))


async def test_a_log_that_is_to_be_elsewhere_moves_at_the_next_start(root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program = {"command": ["sh", "-c", f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after"]}
    async with Host(root) as host:
        await host.install(programs={"p": program})
        await host.start()
        await wait_for(lambda: (root / "jobs/job/p/stdout.log").read_text(), "the first line")
        await host.install(programs={"p": {**program, "stdout_logfile": str(tmp_path / "elsewhere.log")}})
        gate.touch()
        await host.wait_ended()
        assert (root / "jobs/job/p/stdout.log").read_text() == "before\nafter\n"
        await host.start(verb="restart")
        await host.wait_ended()
        assert (tmp_path / "elsewhere.log").read_text() == "before\nafter\n"
        assert (root / "jobs/job/p/stdout.log.old").read_text() == "before\nafter\n"
