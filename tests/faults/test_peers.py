"""What other ways to run a long job from Airflow were seen to do wrong, fault by fault, tried on ours.

:data:`FAULTS` names every fault and the test that tries it: one of this module, or an equal one elsewhere.
"""

from __future__ import annotations

import ast
import asyncio
import configparser
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_supervisor_jobs.config import Host as HostModel
from airflow_supervisor_jobs.config import Job
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.verdict import Outcome, Verdict
from airflow_supervisor_jobs.exceptions import AgentError
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.connections import load_connection
from airflow_supervisor_jobs.hosts.pool import Pool
from airflow_supervisor_jobs.hosts.settings import resolve
from airflow_supervisor_jobs.triggers.journal import Journal
from tests.programs.ledger import Ledger
from tests.services import switches
from tests.services.host import OWNER, Host, wait_for
from tests.services.sshd import OpenSSH
from tests.services.watching import Watching

Scripted = Callable[..., dict[str, Any]]

TESTS = Path(__file__).parents[1]
HERE = "faults/test_peers.py"
STATES = "e2e/test_states.py"
SECURITY = "unit/agent/test_security.py"
LINKS = "faults/test_links.py"

AIRFLOW_SUPERVISOR = {
    "a listener on every interface, plain and without a password": (
        f"{SECURITY}::test_everything_is_ours_alone_and_nothing_listens"
    ),
    "the password in the task log and in rendered fields": "e2e/test_secrets.py::test_secrets_reach_only_the_program",
    "the password in remote argv and in files that others may read": (
        f"{SECURITY}::test_everything_is_ours_alone_and_nothing_listens"
    ),
    "a successful job over SSH ends as a failed run": f"{HERE}::test_a_successful_job_over_ssh_is_a_success",
    "a run without a logical date crashes": "e2e/test_ladder.py::test_a_run_of_an_asset_needs_no_date_and_cleans_up",
    "one job's stop kills another's program": f"{HERE}::test_the_stop_of_one_job_kills_no_other",
    "a second copy after kill -9 of supervisord": (
        "faults/test_one_copy.py::test_a_new_supervisord_answers_for_what_the_killed_one_left"
    ),
    "marked failed, the program runs on": f"{STATES}::test_marking_the_watch_failed_ends_the_program",
    "marked failed, the run is a success": f"{STATES}::test_marking_the_watch_failed_ends_the_program",
    "check_timeout exceeded is a success": f"{HERE}::test_a_job_that_exceeds_check_timeout_is_a_failure",
    "check_timeout exceeded triggers a new run": "unit/core/test_restart.py::test_decide_restart",
    "a failure never stops supervisord": f"{HERE}::test_a_failed_job_leaves_no_supervisord",
    "the last permitted try is stopped at once": "e2e/test_ladder.py::test_the_last_try_is_watched_to_its_end",
    "the last permitted try is a success": "e2e/test_ladder.py::test_every_rung_is_climbed_exactly_as_often_as_it_says",
    "a restarted program runs before anyone watches": f"{STATES}::test_a_job_that_fails_and_is_restarted",
    "a newline in a command adds a section": f"{HERE}::test_a_newline_in_a_command_adds_no_section",
    "a shell command in the working directory executes": f"{HERE}::test_a_shell_command_in_a_directory_is_not_executed",
    "../evil leaves the folder": f"{SECURITY}::test_no_name_leads_out_of_the_root",
    "unknown keys and negative seconds are accepted": f"{HERE}::test_unknown_keys_and_negative_seconds_are_refused",
    "%, ; and commas break a value": "contract/test_round_trip.py::test_a_program_gets_exactly_what_the_file_says",
    "cleaning up deletes the user's own files": f"{HERE}::test_cleaning_up_deletes_no_file_of_the_users_and_no_log",
    "cleaning up deletes every log": f"{HERE}::test_cleaning_up_deletes_no_file_of_the_users_and_no_log",
    "without cleaning up, the tasks behind are skipped": f"{STATES}::test_a_job_that_ends_well",
    "retries, queue and pool are dropped": "unit/dags/test_supervisor_dag.py::test_all_tasks_run_where_the_job_says",
    "two in one DAG file clash": "unit/dags/test_supervisor_dag.py::test_two_dags_of_a_job_are_two",
    "the host is picked anew at each parse": ("unit/dags/test_build.py::test_a_run_goes_on_though_its_file_has_broken"),
    "a call to supervisord has no timeout": f"{HERE}::test_a_supervisord_that_does_not_answer_holds_up_nobody",
}

SSH_REMOTE_JOB_OPERATOR = {
    "marked failed while deferred, the process runs on": f"{STATES}::test_marking_the_watch_failed_ends_the_program",
    "a timeout leaves the process running": (
        "e2e/test_kills.py::test_the_timeout_of_the_task_ends_a_deferred_watch_and_the_program"
    ),
    "cleared while deferred, a second copy": f"{STATES}::test_clearing_the_watch_adopts_the_program",
    "the worker dies between submit and defer, a second copy": (
        "e2e/test_kills.py::test_workers_killed_after_their_work_make_no_second_copy_and_no_orphan"
    ),
    "the answer of submit is lost, a second copy": (
        f"{LINKS}::test_a_start_whose_reply_is_lost_is_adopted_by_the_next"
    ),
    "an outage beyond a budget fails the task": f"{LINKS}::test_a_flapping_link_fails_no_job_and_costs_no_line",
    "the retry after an outage starts a second copy": (
        f"{LINKS}::test_a_connection_that_ends_at_any_byte_of_a_start_makes_no_second_copy"
    ),
    "cleaning up deletes the running one's folder": f"{HERE}::test_cleaning_up_a_running_job_is_refused",
    "the process group killed, deferred for ever": f"{HERE}::test_a_killed_process_group_is_not_waited_for",
    "the host rebooted, deferred for ever": (
        "faults/test_identity.py::test_a_reboot_is_lost_and_the_next_generation_counts_on"
    ),
    "the folder gone, deferred for ever": f"{HERE}::test_a_job_whose_folder_is_gone_is_not_waited_for",
    "the disk full, deferred for ever": (
        "faults/test_disk.py::test_a_full_disk_costs_lines_that_are_counted_and_never_the_status"
    ),
    "exit, exec, a syntax error or a heredoc never completes": f"{HERE}::test_any_shell_text_completes_with_its_code",
    "a last line that is false is a success": f"{HERE}::test_any_shell_text_completes_with_its_code",
    "of several lines only the last one's output is logged": f"{HERE}::test_the_output_of_every_line_is_logged",
    "of 200,000 lines few are shown": (
        "unit/hosts/test_watch_host.py::test_a_burst_before_the_end_comes_whole_and_in_order"
    ),
    "a byte 0xFF stops the log": f"{HERE}::test_a_byte_that_is_no_text_does_not_stop_the_log",
    "a triggerer's restart logs everything again": (
        "unit/hosts/test_watch_host.py::test_a_new_watch_goes_on_where_the_last_one_was_left"
    ),
    "an idle job fills its task log": f"{HERE}::test_an_idle_job_adds_nothing_to_its_log",
    "the environment is visible in ps": f"{SECURITY}::test_everything_is_ours_alone_and_nothing_listens",
    "a child that ignores TERM or calls setsid survives": "faults/test_stop.py::test_no_survivor",
    "a stale pid file kills a stranger": (
        "faults/test_identity.py::test_a_stale_record_that_names_a_stranger_hurts_nobody"
    ),
    "a second user on the host is refused": f"{HERE}::test_two_users_of_a_host_do_not_meet",
    "a connection without a login is submitted, then orphaned": (
        f"{HERE}::test_a_connection_without_a_login_means_the_same_to_both_libraries"
    ),
    "a connection for each job": f"{HERE}::test_many_watched_jobs_take_one_login",
    "jobs fail falsely where sshd drops connections": (
        "contract/test_ssh.py::test_all_get_in_where_sshd_drops_some_at_first"
    ),
}

JOB_SCHEDULER = {
    "a remote process whose task is gone": (
        "faults/test_orphans.py::test_jobs_of_runs_that_are_over_or_unknown_are_ended_and_no_other_is_touched"
    ),
    "a task whose remote process is gone": f"{LINKS}::test_a_killed_runner_is_noticed_and_lost",
    "a pid file that tells of another process": (
        "faults/test_identity.py::test_a_stale_record_that_names_a_stranger_hurts_nobody"
    ),
}

FAULTS = {**AIRFLOW_SUPERVISOR, **SSH_REMOTE_JOB_OPERATOR, **JOB_SCHEDULER}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_test_of_a_fault_exists(fault: str) -> None:
    path, name = FAULTS[fault].split("::")
    tree = ast.parse((TESTS / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def watching(host: Host, **policy: Any) -> Watching:
    """Return a watch of the host's job ``job``, over a pipe of its own."""
    return Watching(lambda: open_pipe(host.settings), policy=WatchPolicy("here", "job", **policy))


# airflow-supervisor


@pytest.mark.openssh
async def test_a_successful_job_over_ssh_is_a_success(openssh: OpenSSH, root: Path) -> None:
    settings = resolve(HostModel.model_validate(openssh.host(name="far", root=str(root))), user_config=None)
    async with Host(root, settings=settings) as host:
        await host.install(programs={"p": {"command": "true"}})
        await host.start()
        async with Watching(lambda: Pool(linger=0).pipe(settings)) as watch:
            judgement = await watch.judgement()
    assert (judgement.verdict, judgement.outcome()) == (Verdict.FINISHED, Outcome.SUCCESS)


async def test_the_stop_of_one_job_kills_no_other(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        for name in ("job", "other"):
            await host.install(name=name, programs=scripted("--run-for", "600"))
        await host.start("job")
        pid = (await host.start("other"))["p"]["pid"]
        await asyncio.to_thread(ledger.wait_for, lambda book: len(book.alive()) == 2)
        await host.stop("job")
        answer = await host.pipe.request("stop_supervisord", job="job", owner=OWNER)
        await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
        assert answer == {"stopped": False, "held_by": ["other"]}
        assert [entry.pid for entry in ledger.alive()] == [pid]
        assert (await host.status("other"))["p"]["state"] == "RUNNING"


async def test_a_job_that_exceeds_check_timeout_is_a_failure(root: Path, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        await host.start()
        async with watching(host, check_timeout=0.2) as watch:
            judgement = await watch.judgement()
    assert (judgement.verdict, judgement.outcome()) == (Verdict.TIMED_OUT, Outcome.FAILED)


async def test_a_failed_job_leaves_no_supervisord(root: Path, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--exit-code", "3"))
        await host.start()
        await host.wait_ended()
        supervisord = switches.supervisord(root)
        await host.stop()
        assert (await host.pipe.request("stop_supervisord", job="job", owner=OWNER))["stopped"]
        await supervisord.gone()


async def test_a_newline_in_a_command_adds_no_section(root: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    text = f"\n[program:evil]\ncommand=touch {evil}\nautostart=true\n[eventlistener:evil]\ncommand=touch {evil}"
    async with Host(root) as host:
        await host.install(programs={"p": {"command": ["printf", "%s", text], "environment": {"E": text}}})
        await host.start()
        await host.wait_ended()
        assert await host.output("p") == text.encode()
        parser = configparser.RawConfigParser()
        parser.read(root / "programs.conf")
        assert parser.sections() == ["group:job", "program:job.p"]
        assert not evil.exists()


@pytest.mark.parametrize("text", ["$(touch {})", "`touch {}`", "; touch {};", "x && touch {}"])
async def test_a_shell_command_in_a_directory_is_not_executed(root: Path, tmp_path: Path, text: str) -> None:
    evil = tmp_path / "evil"
    async with Host(root) as host:
        await host.install(programs={"p": {"command": "true", "directory": f"/{text.format(evil)}"}})
        await host.start()
        ended = (await host.wait_ended())["p"]
    assert ended["record"]["reason"] == "could_not_start"
    assert not evil.exists()


@pytest.mark.parametrize("wrong", [{"stopwaitsec": 3}, {"stopwaitsecs": -1}, {"startretries": -3}, {"numprocs": 0}])
def test_unknown_keys_and_negative_seconds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Job.model_validate({"name": "job", "programs": {"p": {"command": "true", **wrong}}})


async def test_cleaning_up_deletes_no_file_of_the_users_and_no_log(root: Path, tmp_path: Path) -> None:
    mine, log = tmp_path / "work", tmp_path / "work/own.log"
    mine.mkdir()
    (mine / "precious").touch()
    program = {"command": "echo said", "directory": str(mine)}
    own_log = {**program, "stdout_logfile": str(log)}
    async with Host(root) as host:
        await host.install(programs={"p": program, "q": own_log})
        await host.start()
        await host.wait_ended()
        await host.stop()
        await host.pipe.request("remove", job="job", owner=OWNER, purge=False)
        assert (root / "jobs/job/p/stdout.log").read_text() == "said\n"
        await host.install(programs={"p": program, "q": own_log})
        await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
    assert not (root / "jobs/job").exists()
    assert (mine / "precious").exists()
    assert log.read_text() == "said\n"


async def test_a_supervisord_that_does_not_answer_holds_up_nobody(
    root: Path, ledger: Ledger, scripted: Scripted
) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--on-term-exit", "9"))
        await host.start()
        await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
        frozen = switches.supervisord(root)
        frozen.send(signal.SIGSTOP)
        try:
            running = (await host.status())["p"]
            assert (running["state"], running["phase"]) == (None, "running")
            async with watching(host) as watch:
                await watch.until(lambda: watch.pids)
                switches.program(root).send(signal.SIGTERM)
                assert (await watch.judgement()).exit_code == 9
        finally:
            frozen.send(signal.SIGCONT)


# SSHRemoteJobOperator


async def test_cleaning_up_a_running_job_is_refused(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        await host.start()
        await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
        with pytest.raises(AgentError, match="still runs") as refusal:
            await host.pipe.request("remove", job="job", owner=OWNER, purge=True)
        assert refusal.value.code == "running"
        assert len(ledger.alive()) == 1
        assert (await host.status())["p"]["phase"] == "running"


async def test_a_killed_process_group_is_not_waited_for(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600", "--fork"))
        pid = (await host.start())["p"]["pid"]
        await asyncio.to_thread(ledger.wait_for, lambda book: len(book.alive()) == 2)
        async with watching(host) as watch:
            await watch.until(lambda: watch.pids)
            os.killpg(os.getpgid(pid), signal.SIGKILL)
            judgement = await watch.judgement()
    assert (judgement.verdict, judgement.signal) == (Verdict.FAILED, signal.SIGKILL)
    assert not ledger.alive()


async def test_a_job_whose_folder_is_gone_is_not_waited_for(root: Path, ledger: Ledger, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        await host.start()
        await asyncio.to_thread(ledger.wait_for, lambda book: book.alive())
        async with watching(host) as watch:
            await watch.until(lambda: watch.pids)
            shutil.rmtree(root / "jobs/job")
            judgement = await watch.judgement()
    assert (judgement.verdict, judgement.outcome()) == (Verdict.LOST, Outcome.FAILED)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit 3", 3),
        ("exec sh -c 'exit 4'", 4),
        ("if then", 2),
        ("exit 5 # not the end", 5),
        ("cat <<X\nhello\nX", 0),
        ("cat <<X\nhello", 0),
        ("true\n  false\n  ", 1),
        ("(exit 6) &\nwait $!", 6),
        ("kill -9 $$", None),
    ],
)
async def test_any_shell_text_completes_with_its_code(root: Path, text: str, code: int | None) -> None:
    async with Host(root) as host:
        await host.install(programs={"p": {"command": text, "shell": True}})
        await host.start()
        async with watching(host) as watch:
            judgement = await watch.judgement()
    assert judgement.exit_code == code
    assert judgement.outcome() is (Outcome.FAILED if code != 0 else Outcome.SUCCESS)


async def test_the_output_of_every_line_is_logged(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs={"p": {"command": "echo one\necho two >&2\necho three", "shell": True}})
        await host.start()
        async with watching(host) as watch:
            await watch.judgement()
    assert sorted(watch.texts) == ["one", "three", "two"]


async def test_a_byte_that_is_no_text_does_not_stop_the_log(root: Path) -> None:
    async with Host(root) as host:
        await host.install(programs={"p": {"command": r"printf 'a\377b\n\000\nafter\n'", "shell": True}})
        await host.start()
        async with watching(host) as watch:
            await watch.judgement()
    assert watch.texts == ["a\\xffb", "\\x00", "after"]


class Lines:
    """A task's log."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, message: str, /, *arguments: Any) -> None:
        self.said.append(message % arguments)

    warning = info


async def test_an_idle_job_adds_nothing_to_its_log(root: Path, scripted: Scripted) -> None:
    async with Host(root) as host:
        await host.install(programs=scripted("--run-for", "600"))
        pid = (await host.start())["p"]["pid"]
        async with watching(host) as watch:
            await watch.until(lambda: watch.pids)
            for _ in range(50):  # whoever asks is told, and the watch is not
                await host.status()
            await host.stop()
            await watch.judgement()
    log = Lines()
    journal = Journal(log)
    for _, observation in watch.seen:
        journal.note(observation)
    assert log.said[:2] == ["The host is in sight", f"p: RUNNING, pid {pid} (generation 1)"]
    assert log.said[-1].startswith("p: STOPPED")
    assert len(log.said) <= 4


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
async def test_two_users_of_a_host_do_not_meet(short_folder: Path) -> None:
    everyones = "/usr/local/bin:/usr/bin:/bin"
    if (shared_python := shutil.which("python3", path=everyones)) is None:
        pytest.skip("there is no python3 that every user of this machine may run")
    short_folder.chmod(0o755)
    hosts = []
    for name, uid in (("one", 65534), ("two", 65533)):
        home = short_folder / name
        home.mkdir()
        os.chown(home, uid, uid)
        become = f"setpriv --reuid={uid} --regid={uid} --clear-groups env HOME={home} PATH={everyones}"
        python = short_folder / f"python_{name}"
        python.write_text(f'#!/bin/sh\ncd {home} && exec {become} {shared_python} "$@"\n')
        python.chmod(0o755)
        hosts.append(Host(Path("~/.airflow-supervisor-jobs"), python=str(python)))
    one, two = hosts
    async with one, two:
        try:
            for host in hosts:
                await host.install(programs={"p": {"command": "sleep 600"}})
            pids = [(await host.start())["p"]["pid"] for host in hosts]
            assert [os.stat(f"/proc/{pid}").st_uid for pid in pids] == [65534, 65533]
            await one.stop()
            assert (await two.status())["p"]["pid"] == pids[1]
        finally:
            for host in hosts:
                await host.stop()
                await host.pipe.request("stop_supervisord", job="job", owner=OWNER)


@pytest.mark.openssh
async def test_a_connection_without_a_login_means_the_same_to_both_libraries(
    openssh: OpenSSH, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_FAR", openssh.connection().replace(f'"login": "{openssh.username}"', '"login": ""')
    )
    host = HostModel(name="far", ssh_conn_id="far", root=str(root))
    for library in SSHLibrary:
        settings = resolve(host, load_connection("far"), user_config=None)
        async with open_pipe(settings, library=library) as pipe:
            assert pipe.hello["user"] == openssh.username


@pytest.mark.openssh
async def test_many_watched_jobs_take_one_login(openssh: OpenSSH, root: Path) -> None:
    logins = openssh.home / "logins"
    (openssh.home / ".bashrc").write_text(f"echo >> {logins}\n")
    settings = resolve(HostModel.model_validate(openssh.host(name="far", root=str(root))), user_config=None)
    pool = Pool(linger=0)
    async with Host(root) as host:
        programs = {f"p{number}": {"command": "sleep 600"} for number in range(20)}
        await host.install(programs=programs)
        await host.start()
        watches = [Watching(lambda: pool.pipe(settings)) for _ in programs]
        for watch in watches:
            await watch.until(lambda watch=watch: len(watch.pids) >= len(programs))
        assert len(openssh.connections()) == 1
        assert logins.read_text().count("\n") == 1
        await host.stop()
        for watch in watches:
            assert (await watch.judgement()).verdict is Verdict.STOPPED
    await wait_for(lambda: not openssh.connections(), "the end of the connection")
