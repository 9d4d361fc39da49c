"""What holds for the project as a whole: what an import costs, what the agent may use, what a wheel has in it."""

from __future__ import annotations

import ast
import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import airflow_supervisor_jobs

TREE = Path(__file__).parents[2]
PACKAGE = TREE / "airflow_supervisor_jobs"
HEAVY = {"airflow", "paramiko", "asyncssh"}
JOB = "command: sleep 1\n"


def roots_imported_by(code: str, *arguments: str) -> set[str]:
    """Return the top-level modules that an interpreter has after running ``code``."""
    program = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=TREE, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import airflow_supervisor_jobs",
        "from airflow_supervisor_jobs import load_job, load_jobs, Job, Host",
        "import airflow_supervisor_jobs.core.judge, airflow_supervisor_jobs.hosts.base",
    ],
)
def test_importing_needs_neither_airflow_nor_ssh(code: str) -> None:
    assert not roots_imported_by(code) & HEAVY


@pytest.mark.parametrize(
    "arguments", [["validate"], ["render", "job"], ["render", "job", "--target", "job"], ["schema"], ["--help"]]
)
def test_commands_that_touch_no_host_need_neither_airflow_nor_ssh(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.yaml").write_text(JOB)
    where = ["--config-dir", str(tmp_path)] if arguments[0] in ("validate", "render") else []
    code = "import sys; from airflow_supervisor_jobs.cli.main import run; assert run(sys.argv[1:]) == 0"
    assert not roots_imported_by(code, *arguments, *where) & HEAVY


def test_every_public_name_is_there() -> None:
    assert [name for name in airflow_supervisor_jobs.__all__ if not hasattr(airflow_supervisor_jobs, name)] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("agent/*.py")), ids=lambda path: path.name)
def test_the_agent_uses_the_standard_library_alone(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add((node.module or "").partition(".")[0])
    # The zip that hosts get has the folder at its top; the supervisor package is looked for there, not needed.
    assert imported - sys.stdlib_module_names - {"agent"} == set()


def test_the_runner_is_a_file_of_its_own() -> None:
    """It runs from a plain file, long after the agent that sent it is gone."""
    tree = ast.parse((PACKAGE / "agent" / "runner.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


def test_a_wheel_has_all_that_the_package_has_and_no_more(tmp_path: Path) -> None:
    build = [str(TREE / ".ci" / "uv"), "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(TREE)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(about))
    there = {str(path.relative_to(TREE)) for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert names == there
    assert metadata["Name"] == "airflow-supervisor-jobs"
    assert metadata.get_payload(decode=True).decode() == (TREE / "README.md").read_text()
