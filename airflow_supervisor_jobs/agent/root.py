"""The root folder: names, locks, and what is installed in it."""

import contextlib
import fcntl
import hashlib
import os
import pkgutil
import py_compile
import re
import shutil
import sys

from .runner import Place, boot_id, read_json, write_json
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
PLAIN_PATH = re.compile(r"[A-Za-z0-9._/@+~=,-]+\Z")
SOCKET_PATH_LIMIT = 100
SCRIPT = """#!%s -IS
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agent"))
import %s as runner
runner.run()
"""


def check_name(name: "Any", what: str) -> str:
    """Return ``name`` if it can stand in a path and in supervisord's config."""
    if not isinstance(name, str) or not NAME.match(name):
        raise Refusal("bad_request", "%r is no name for a %s" % (name, what))
    return name


class Root:
    """One root on this host: the files of one supervisord and of its jobs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.conf = os.path.join(path, "supervisord.conf")
        self.programs = os.path.join(path, "programs.conf")
        self.socket = os.path.join(path, "supervisord.sock")
        self.pidfile = os.path.join(path, "supervisord.pid")
        self.runner = os.path.join(path, "bin", "runner")
        for folder in ("agent", "bin", "jobs", "lib", "locks"):
            os.makedirs(os.path.join(path, folder), mode=0o700, exist_ok=True)

    def check(self) -> None:
        """Refuse a root that supervisord's config or a UNIX socket cannot name."""
        if not PLAIN_PATH.match(self.path):
            raise Refusal(
                "config", "%s has characters that supervisord.conf cannot carry: set the host's `root`" % self.path
            )
        if len(self.socket.encode()) > SOCKET_PATH_LIMIT:
            words = "%s is longer than a UNIX socket's path may be (%d bytes): set a shorter `root` for the host"
            raise Refusal("config", words % (self.socket, SOCKET_PATH_LIMIT))

    @contextlib.contextmanager
    def lock(self, *names: str) -> "Iterator[None]":
        """Hold the lock of the root (no name) or of a job, against every other agent of this root.

        The files are never deleted: a lock on a file that is gone would keep nobody out.
        """
        path = os.path.join(self.path, "locks", *(names or ("root",))) + ".lock"
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def place(self, job: str, process: str) -> Place:
        """Return where the files of a process are."""
        return Place(self.path, job, process)

    def job_folder(self, job: str) -> str:
        """Return the folder of a job."""
        return os.path.join(self.path, "jobs", job)

    def job_file(self, job: str) -> str:
        """Return the path of a job's record."""
        return os.path.join(self.job_folder(job), "job.json")

    def read_job(self, job: str) -> "dict[str, Any] | None":
        """Return a job's record, None where it is not installed."""
        return read_json(self.job_file(job))  # type: ignore[no-any-return]

    def job(self, job: str) -> "dict[str, Any]":
        """Return a job's record.

        :raises Refusal: ``not_installed``.
        """
        record = self.read_job(check_name(job, "job"))
        if record is None:
            raise Refusal("not_installed", "it is not installed in %s on this host" % self.path, job)
        return record

    def write_job(self, record: "dict[str, Any]") -> None:
        """Keep a job's record."""
        write_json(self.job_file(record["job"]), record)

    def jobs(self) -> "list[dict[str, Any]]":
        """Return the records of all installed jobs, by name."""
        found = (self.read_job(name) for name in sorted(os.listdir(os.path.join(self.path, "jobs"))))
        return [record for record in found if record]

    def install_runner(self) -> None:
        """Have ``bin/runner`` lead to the runner that came with this agent; those that run keep theirs.

        The script only imports: a runner that compiled its own source would be 3 MiB larger, and 9 ms later.
        """
        if len(sys.executable) > 110 or " " in sys.executable:
            raise Refusal(
                "config", "%r cannot stand in a script's first line: set the host's `python`" % sys.executable
            )
        source = self.runner_source()
        module = "runner_" + hashlib.sha256(source).hexdigest()[:16]
        path = os.path.join(self.path, "agent", module + ".py")
        script = (SCRIPT % (sys.executable, module)).encode()
        if not holds_bytes(path, source):
            replace(path, source)
            py_compile.compile(path, optimize=-1)
        if not holds_bytes(self.runner, script):
            replace(self.runner, script)

    def runner_source(self) -> bytes:
        """Return the runner's source from this agent's own zip."""
        source = pkgutil.get_data(__package__, "runner.py")
        if source is None:
            raise Refusal("internal", "this agent came without its runner")
        return source

    def forget_job(self, job: str, purge: bool) -> None:
        """Remove a job's files: the config, and with ``purge`` also logs, records and counts."""
        folder = self.job_folder(job)
        for name in ("job.json", "env"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        if purge:
            shutil.rmtree(folder, ignore_errors=True)
            return
        for process in os.listdir(folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, process, "spec.json"))

    def identity(self) -> "dict[str, Any]":
        """Return which machine and boot this is."""
        return {
            "machine_id": (read_json(os.path.join(self.path, "machine.json")) or {}).get("machine_id"),
            "boot_id": boot_id(),
        }


def holds_bytes(path: str, data: bytes) -> bool:
    """Tell whether the file is there with just these contents."""
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False


def replace(path: str, data: bytes) -> None:
    """Put an executable file in place, whole or not at all."""
    part = "%s.%d" % (path, os.getpid())
    with open(part, "wb") as file:
        file.write(data)
    os.chmod(part, 0o700)
    os.rename(part, path)
