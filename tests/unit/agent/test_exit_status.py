"""The reason is told in words where a program could not start, and its log is where it was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from airflow_supervisor_jobs.exceptions import AgentError
from tests.services.host import Host


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ({"command": "/nowhere/to/be/found"}, 127, "No such file or directory: /nowhere/to/be/found"),
        (
            {"command": "no-such-command-anywhere"},
            127,
            "No such file or directory: no-such-command-anywhere (looked for in PATH=",
        ),
        ({"command": "/etc/passwd"}, 126, "Permission denied: /etc/passwd"),
        ({"command": "true", "directory": "/nowhere"}, 127, "No such file or directory: /nowhere"),
        ({"command": "true", "user": "nobody-of-that-name"}, 126, "this host has no user nobody-of-that-name"),
    ],
)
async def test_what_cannot_start_says_why(root: Path, program: dict[str, object], code: int, words: str) -> None:
    async with Host(root) as host:
        await host.install(programs={"p": program})
        await host.start()
        one = (await host.wait_ended())["p"]
        assert one["record"]["reason"] == "could_not_start"
        assert words in one["record"]["message"]
        assert one["exit_code"] == code


async def test_a_missing_interpreter_is_named_as_such(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    async with Host(root) as host:
        await host.install(programs={"p": {"command": [str(script)]}})
        await host.start()
        message = (await host.wait_ended())["p"]["record"]["message"]
        assert "the interpreter that its first line names is not" in message


async def test_a_log_in_a_folder_that_is_not_there_is_refused_and_hurts_no_other_job(root: Path) -> None:
    async with Host(root) as host:
        with pytest.raises(AgentError, match=r"no folder for its log /nowhere/x\.log"):
            await host.install(name="bad", programs={"p": {"command": "true", "stdout_logfile": "/nowhere/x.log"}})
        await host.install(name="good", programs={"p": {"command": "true"}})
        assert (await host.start("good"))["p"]["action"] == "started"


async def test_a_log_elsewhere_is_written_there_and_found_by_supervisorctl(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "elsewhere.log"
    async with Host(root) as host:
        await host.install(programs={"p": {"command": "echo hello", "stdout_logfile": str(log)}})
        await host.start()
        await host.wait_ended()
        assert log.read_text() == "hello\n"
        assert await host.output("p") == b"hello\n"
        tail = subprocess.run([root / "bin/supervisorctl", "tail", "job:p"], capture_output=True, check=True)
        assert tail.stdout.strip() == b"hello"
