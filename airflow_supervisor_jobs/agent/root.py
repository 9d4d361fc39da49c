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
import threading

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
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(root, "agent%s"))
%s
"""
RUN = "import %s as runner; runner.run()"
BOOT = "from agent.main import boot; sys.exit(boot(root))"


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
        self.boot = os.path.join(path, "bin", "boot")
        self.specs = {}  # type: dict[tuple[str, str], dict[str, Any]]
        self.records = {}  # type: dict[str, tuple[tuple[int, int, int], dict[str, Any]]]
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
    def lock(self, job: str = "") -> "Iterator[None]":
        """Hold the lock of a job, or of the root, against every other agent of this root.

        The files are never deleted: a lock on a file that is gone would keep nobody out. No name begins with a dot.
        """
        path = os.path.join(self.path, "locks", job, ".lock")
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

    def config(self, job: str, digest: str) -> str:
        """Return the folder of one version of a job's config."""
        return os.path.join(self.job_folder(job), "config", digest[:16])

    def read_job(self, job: str) -> "dict[str, Any] | None":
        """Return a job's record with its spec, None where it is not installed."""
        record = self.read_record(job)
        spec = self.read_spec(job, record["hash"]) if record else None
        return dict(record, spec=spec) if record and spec else None

    def read_record(self, job: str) -> "dict[str, Any] | None":
        """Return a job's record; each time it is written it is another file."""
        path = self.job_file(job)
        try:
            stat = os.stat(path)
        except OSError:
            return None
        version = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if job not in self.records or self.records[job][0] != version:
            record = read_json(path)
            if record is None:
                return None
            self.records[job] = (version, record)
        return self.records[job][1]

    def read_spec(self, job: str, digest: str) -> "dict[str, Any] | None":
        """Return one version of a job's spec, its environment left out."""
        if (job, digest) not in self.specs:
            spec = read_json(os.path.join(self.config(job, digest), "spec.json"))
            if spec is None:
                return None
            self.specs[(job, digest)] = spec
        return self.specs[(job, digest)]

    def job(self, job: str) -> "dict[str, Any]":
        """Return a job's record.

        :raises Refusal: ``not_installed``.
        """
        record = self.read_job(check_name(job, "job"))
        if record is None:
            raise Refusal("not_installed", "it is not installed in %s on this host" % self.path, job)
        return record

    def write_job(self, record: "dict[str, Any]") -> None:
        """Keep a job's record; the version of the config that it names counts from now on."""
        write_json(self.job_file(record["job"]), {name: value for name, value in record.items() if name != "spec"})

    def jobs(self) -> "list[dict[str, Any]]":
        """Return the records of all installed jobs, by name."""
        found = (self.read_job(name) for name in sorted(os.listdir(os.path.join(self.path, "jobs"))))
        return [record for record in found if record]

    def install_scripts(self) -> None:
        """Have ``bin/runner`` and ``bin/boot`` lead to what came with this agent; runners that run keep theirs.

        The runner's only imports: one that compiled its own source would be 3 MiB larger, and 9 ms later.
        """
        if len(sys.executable) > 110 or " " in sys.executable:
            raise Refusal(
                "config", "%r cannot stand in a script's first line: set the host's `python`" % sys.executable
            )
        source = self.runner_source()
        module = "runner_" + hashlib.sha256(source).hexdigest()[:16]
        path = os.path.join(self.path, "agent", module + ".py")
        if not holds_bytes(path, source):
            replace(path, source)
            py_compile.compile(path, optimize=-1)
        archive = os.path.basename(sys.path[0])
        for script, text in (
            (self.runner, SCRIPT % (sys.executable, "", RUN % module)),
            (self.boot, SCRIPT % (sys.executable, "/" + archive, BOOT)),
        ):
            if not holds_bytes(script, text.encode()):
                replace(script, text.encode())

    def runner_source(self) -> bytes:
        """Return the runner's source from this agent's own zip."""
        source = pkgutil.get_data(__package__, "runner.py")
        if source is None:
            raise Refusal("internal", "this agent came without its runner")
        return source

    def forget_job(self, job: str) -> None:
        """No longer count a job as installed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.job_file(job))

    def remove_files(self, job: str, purge: bool) -> None:
        """Remove the files of a job that is no longer installed: the config; with ``purge`` logs and records too."""
        folder = self.job_folder(job)
        shutil.rmtree(folder if purge else os.path.join(folder, "config"), ignore_errors=True)
        self.specs.clear()

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
    part = "%s.%d.%d" % (path, os.getpid(), threading.get_ident())  # installs of several jobs go side by side
    with open(part, "wb") as file:
        file.write(data)
    os.chmod(part, 0o700)
    os.rename(part, path)
