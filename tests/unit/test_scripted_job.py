"""The actor of the tests must itself be true: what it is told to do happens, and its ledger says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs.ledger import Ledger

PROGRAM = Path(__file__).parents[1] / "programs" / "scripted_job.py"
MARK = "AIRFLOW_SUPERVISOR_JOBS_PROCESS"

Play = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    yield ledger
    ledger.end_all()


@pytest.fixture
def play(ledger: Ledger) -> Iterator[Play]:
    started = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(PROGRAM), "--ledger", str(ledger.path), *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdout=pipe, stderr=pipe, env={**os.environ, MARK: "job:feed:7:/root"})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def finish(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, int]:
    out, err = process.communicate(timeout=20)
    return out, err, process.returncode


def wait_for_beat(ledger: Ledger) -> None:
    ledger.wait_for(lambda seen: seen.beats(role="main"))


def test_ends_with_its_code_and_writes_start_and_exit(play: Play, ledger: Ledger) -> None:
    process = play("--exit-code", "3")
    assert finish(process) == (b"", b"", 3)
    start, end = ledger.starts()[0], ledger.exits()[0]
    assert (start.pid, start.ppid, start.role, start.mark) == (process.pid, os.getpid(), "main", "job:feed:7:/root")
    assert start.argv[-2:] == ("--exit-code", "3")
    assert (end.pid, end.ticks, end.exit_code) == (start.pid, start.ticks, 3)
    assert not ledger.alive()


@pytest.mark.parametrize(("name", "number"), [("SEGV", 11), ("SIGKILL", 9), ("15", 15)])
def test_dies_by_a_signal(play: Play, ledger: Ledger, name: str, number: int) -> None:
    assert finish(play("--die-by", name))[2] == -number
    assert ledger.exits()[0].die_by == signal.Signals(number).name


def test_is_alive_while_it_runs_and_beats(play: Play, ledger: Ledger) -> None:
    process = play("--run-for", "60", "--beat-every", "0.01")
    ledger.wait_for(lambda seen: len(seen.beats()) > 2)
    assert [entry.pid for entry in ledger.alive()] == [process.pid]
    process.terminate()
    assert finish(process)[2] == -signal.SIGTERM
    assert [entry.signal for entry in ledger.signals()] == ["SIGTERM"]
    assert not ledger.alive()
    assert not ledger.exits()


def test_a_zombie_is_not_alive(play: Play, ledger: Ledger) -> None:
    process = play()
    ledger.wait_for(lambda seen: seen.exits() and not seen.alive())
    assert process.poll() == 0


def test_ends_with_another_code_on_term(play: Play, ledger: Ledger) -> None:
    process = play("--run-for", "60", "--on-term-exit", "143")
    wait_for_beat(ledger)
    process.terminate()
    assert finish(process)[2] == 143
    assert ledger.exits()[0].exit_code == 143


def test_ignores_term(play: Play, ledger: Ledger) -> None:
    process = play("--run-for", "60", "--ignore-term", "--children", "2", "--beat-every", "0.01")
    ledger.wait_for(lambda seen: len(seen.starts(role="child")) == 2)
    for entry in ledger.starts():
        os.kill(entry.pid, signal.SIGTERM)
    ledger.wait_for(lambda seen: len(seen.signals()) == 3)
    beats = len(ledger.beats())
    ledger.wait_for(lambda seen: len(seen.beats()) > beats + 3)
    assert len(ledger.alive()) == 3
    process.kill()


def test_user_signals_are_noted_only(play: Play, ledger: Ledger) -> None:
    process = play("--run-for", "60")
    wait_for_beat(ledger)
    process.send_signal(signal.SIGUSR1)
    ledger.wait_for(lambda seen: [entry.signal for entry in seen.signals()] == ["SIGUSR1"])
    assert ledger.alive()


@pytest.mark.parametrize(
    ("options", "count"), [(["--fork"], 1), (["--double-fork"], 1), (["--setsid"], 1), (["--children", "5"], 5)]
)
def test_children_outlive_it(play: Play, ledger: Ledger, options: list[str], count: int) -> None:
    process = play(*options)
    ledger.wait_for(lambda seen: seen.exits() and len(seen.starts(role="child")) == count)
    ledger.wait_for(lambda seen: not seen.alive(role="main"))
    children = ledger.alive(role="child")
    assert len(children) == count
    assert all(child.mark == "job:feed:7:/root" and child.pid != process.pid for child in children)


def test_children_end_by_themselves(play: Play, ledger: Ledger) -> None:
    play("--children", "2", "--children-run-for", "0")
    ledger.wait_for(lambda seen: len(seen.exits(role="child")) == 2 and not seen.alive())


def test_double_fork_leaves_no_parent(play: Play, ledger: Ledger) -> None:
    process = play("--double-fork", "--run-for", "60")
    ledger.wait_for(lambda seen: seen.alive(role="child"))
    assert ledger.starts(role="child")[0].ppid != process.pid


def test_setsid_gives_a_session_of_its_own(play: Play, ledger: Ledger) -> None:
    play("--children", "2", "--setsid", "--run-for", "60")
    ledger.wait_for(lambda seen: len(seen.alive(role="child")) == 2)
    for child in ledger.starts(role="child"):
        assert os.getsid(child.pid) == child.pid


@pytest.mark.parametrize(("options", "role"), [([], "main"), (["--fork"], "child")])
def test_stops_itself(play: Play, ledger: Ledger, options: list[str], role: str) -> None:
    play("--stop-self", "--run-for", "60", *options)
    ledger.wait_for(lambda seen: seen.starts(role=role))
    pid = ledger.starts(role=role)[0].pid
    ledger.wait_for(lambda _: state_of(pid) == "T")
    assert ledger.alive(role=role)


@pytest.mark.parametrize(("options", "role"), [([], "main"), (["--double-fork"], "child")])
def test_closes_its_descriptors_and_beats_on(play: Play, ledger: Ledger, options: list[str], role: str) -> None:
    play("--close-fds", "--run-for", "60", "--beat-every", "0.01", *options)
    ledger.wait_for(lambda seen: len(seen.beats(role=role)) > 2)
    pid = ledger.starts(role=role)[0].pid
    open_now = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    assert not any(name.startswith("pipe:") for name in open_now)


@pytest.mark.parametrize(("options", "role"), [([], "main"), (["--fork"], "child"), (["--setsid"], "child")])
def test_clears_its_environment_and_keeps_its_mark(play: Play, ledger: Ledger, options: list[str], role: str) -> None:
    play("--clear-env", "--run-for", "60", *options)
    ledger.wait_for(lambda seen: seen.alive(role=role))
    (start,) = ledger.starts(role=role)
    assert b"SUPERVISOR" not in Path(f"/proc/{start.pid}/environ").read_bytes()
    assert start.mark == "job:feed:7:/root"


def test_hangs_without_beat_or_output(play: Play, ledger: Ledger) -> None:
    play("--hang", "--run-for", "60")
    ledger.wait_for(lambda seen: seen.alive() and cpu_ticks(seen.starts()[0].pid) > 20)
    assert not ledger.beats()


def test_prints_lines_to_both_streams(play: Play) -> None:
    expected = b"line 1\nline 2\nline 3\n"
    assert finish(play("--print-lines", "3", "--to", "both")) == (expected, expected, 0)


def test_prints_exactly_that_many_bytes(play: Play) -> None:
    out, _, _ = finish(play("--print-bytes", "100000", "--burst-before-exit", "200000"))
    assert len(out) == 300_000
    assert out[:64] == b"1".ljust(63) + b"\n"


def test_prints_what_is_no_text(play: Play) -> None:
    out, _, _ = finish(play("--invalid-utf8", "--long-line", "1000000", "--progress"))
    with pytest.raises(UnicodeDecodeError):
        out.decode()
    assert b"x" * 1_000_000 + b"\n" in out
    assert b"\r50%\r60%" in out


def test_a_wait_that_gives_up_says_what_it_saw(play: Play, ledger: Ledger) -> None:
    finish(play("--exit-code", "5"))
    with pytest.raises(AssertionError, match=r"(?s)alive: \[\].*exit_code=5"):
        ledger.wait_for(lambda seen: seen.alive(), deadline=0)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
