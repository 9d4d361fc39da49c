"""The runner: between supervisord and one process of a job, it owns the process's tree, logs and exit record.

Started by supervisord as ``<root>/bin/runner JOB PROCESS``. It reads its order, takes the process's lock (which the
tree inherits), starts the user's command, copies its output to the log files, forwards signals, ends the whole tree
on stop, restarts in place within the budget, and leaves with the command's own exit code, or 128 + signal.

A hundred of these run side by side, and memory is their only real cost. So: one file, run with ``-I -S``, and
``_signal`` and ``_json`` in place of ``signal`` and ``json``, whose enums and regular expressions would add 0.7
and 1.0 MiB to each of them (the bare interpreter has 2.9).
"""

import _signal as signal  # type: ignore[import-not-found]
import errno
import fcntl
import os
import select
import sys
import time

try:
    import _json
except ImportError:  # an interpreter that is not CPython
    _json = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

FORMAT = 1
MARK = "AIRFLOW_SUPERVISOR_JOBS_PROCESS"
CHUNK = 65536
# Between two notes of the time in a log's index: so many seconds, and bytes; or so many seconds, however few bytes.
INDEX_STEP, INDEX_BYTES, INDEX_SECONDS = 0.05, 1024, 1.0
RESERVED = 4096
KEPT_RECORDS = 100
GIVE_UP_AFTER_KILL = 10.0
PREDECESSOR_PATIENCE = 120.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGCONT",
    "SIGTSTP",
    "SIGWINCH",
    "SIGTTIN",
)


# --- JSON and files -------------------------------------------------------------------------------------------------


def loads(text: str) -> "Any":
    """Return the value that JSON ``text`` stands for."""
    if _json is None:
        import json

        return json.loads(text)

    class Context:
        strict = False
        object_hook = object_pairs_hook = None
        parse_float, parse_int, parse_constant = float, int, float
        memo = {}  # type: dict[str, str]

    try:
        return _json.make_scanner(Context)(text.strip(), 0)[0]  # type: ignore[arg-type]
    except StopIteration:
        raise ValueError("not JSON: %.80r" % text) from None


def dumps(value: "Any") -> str:
    """Return ``value`` as JSON."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        if _json is None:
            import json

            return json.dumps(value)
        return _json.encode_basestring_ascii(value)
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (dumps(str(key)), dumps(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "[%s]" % ", ".join(map(dumps, value))
    return repr(value)


def read_json(path: str) -> "Any":
    """Return what the file holds, or None when there is no such file or it is not JSON."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return loads(file.read())
    except (OSError, ValueError):
        return None


def write_json(path: str, value: "Any", part: "str | None" = None, durable: bool = True) -> None:
    """Put ``value`` at ``path``, old or new at every moment, and on the disk when this returns.

    :param part: a file with space set aside by :func:`reserve`, so that a full disk cannot prevent it.
    :param durable: false where it only has to outlive processes, not the machine.
    """
    name = part or "%s.%d.part" % (path, os.getpid())
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(name, path)
    if durable:
        sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Make the names in a folder as durable as the files' contents."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def reserve(path: str) -> None:
    """Set space aside, so that what has to be written later fits on a disk that is full by then."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(fd, b" " * RESERVED)
    except OSError:
        pass
    finally:
        os.close(fd)


# --- Processes ------------------------------------------------------------------------------------------------------


def boot_id() -> str:
    """Return what tells this boot of the machine from all others."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def stat_of(pid: int) -> "list[str] | None":
    """Return the fields of /proc/PID/stat from the state on (state, ppid, pgrp, session, …), or None."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii", "replace").split()
    except OSError:
        return None


def ticks_of(pid: int) -> "int | None":
    """Return when the process started, in clock ticks since boot: with the pid and the boot, its identity."""
    fields = stat_of(pid)
    return int(fields[19]) if fields else None


def is_same(pid: "int | None", ticks: "int | None", boot: "str | None") -> bool:
    """Tell whether the process that was recorded is still there, and is no stranger with its pid, nor a zombie."""
    if not pid or boot != boot_id():
        return False
    fields = stat_of(pid)
    return bool(fields) and int(fields[19]) == ticks and fields[0] not in "ZX"  # type: ignore[index]


def is_runner_alive(run: "dict[str, Any]") -> bool:
    """Tell whether the runner that wrote this run.json is still there."""
    return is_same(run.get("runner_pid"), run.get("runner_ticks"), run.get("boot_id"))


def all_processes() -> "Iterator[tuple[int, int, str, int]]":
    """Yield (pid, parent, state, session) of everything that runs."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_of(int(name))
            if fields:
                yield int(name), int(fields[1]), fields[0], int(fields[3])


def descendants(root: int) -> "list[int]":
    """Return the pids below ``root``, zombies left out."""
    children = {}  # type: dict[int, list[tuple[int, str]]]
    for pid, parent, state, _ in all_processes():
        children.setdefault(parent, []).append((pid, state))
    found, pending = [], [root]
    while pending:
        for pid, state in children.get(pending.pop(), ()):
            pending.append(pid)
            if state not in "ZX":
                found.append(pid)
    return found


def leftovers(mark: str, lock: str, cgroup: "str | None", session: "int | None", ticks: "int | None") -> "list[int]":
    """Return the pids that belong to a tree whose runner is gone.

    Known by the mark in their environment, the process's lock among their descriptors, their cgroup, or the session
    of the program (unless a stranger leads it by now). Runners are none of them: one may be waiting for the lock now.
    """
    if session and ticks_of(session) not in (None, ticks):
        session = None
    wanted = ("%s=%s" % (MARK, mark)).encode()
    found = members(cgroup)
    for pid, _, state, sid in all_processes():
        if state in "ZX" or pid == os.getpid() or pid in found:
            continue
        is_marked = wanted in environment_of(pid) or (lock in open_files(pid) and not is_runner(pid))
        if is_marked or (session and sid == session):
            found.append(pid)
    return found


def environment_of(pid: int) -> "list[bytes]":
    """Return the NAME=value entries that the process was started with; none where we may not look."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def open_files(pid: int) -> "list[str]":
    """Return the paths of what the process has open; none where we may not look."""
    folder, paths = "/proc/%d/fd" % pid, []
    try:
        fds = os.listdir(folder)
    except OSError:
        return []
    for fd in fds:
        try:
            paths.append(os.readlink(os.path.join(folder, fd)))
        except OSError:
            continue  # closed meanwhile
    return paths


def is_runner(pid: int) -> bool:
    """Tell whether the process is one of our runners, or an agent."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return any(word.endswith(b"/bin/runner") or b"exec(eval(" in word for word in words[:5])


def send(pid: int, number: int) -> bool:
    """Signal a process and tell whether it was there."""
    try:
        os.kill(pid, number)
        return True
    except OSError:
        return False


def end_all(find: "Callable[[], list[int]]", grace: float) -> "tuple[list[int], list[int]]":
    """TERM what ``find`` finds, KILL what is left after ``grace`` seconds; return (ended, survivors)."""
    ended = set()  # type: set[int]
    deadline = time.monotonic() + grace
    last = deadline + GIVE_UP_AFTER_KILL
    asked = set()  # type: set[int]
    while True:
        pids = find()
        now = time.monotonic()
        if not pids or now > last:
            return sorted(ended), pids
        for pid in pids:
            ended.add(pid)
            if now >= deadline:
                send(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                send(pid, signal.SIGTERM)
                send(pid, signal.SIGCONT)
        time.sleep(0.02)


# --- Control groups -------------------------------------------------------------------------------------------------


def own_cgroup() -> "str | None":
    """Return the folder of the cgroup (v2) that we are in, if it is ours to divide.

    It is where systemd says that it has delegated it (https://systemd.io/CGROUP_DELEGATION), or at the top of a
    container's own hierarchy.
    """
    try:
        with open("/proc/self/cgroup") as file:
            name = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        with open("/proc/self/mounts") as file:
            mount = next(line.split()[1] for line in file if line.split()[2] == "cgroup2")
        folder = mount + name.rstrip("/")
        if name != "/" and not {"user.delegate", "trusted.delegate"}.intersection(os.listxattr(folder)):
            return None
    except (OSError, StopIteration):
        return None
    return folder if os.access(folder, os.W_OK) else None


def make_cgroup(name: str) -> "str | None":
    """Return the folder of a new cgroup below our own, None where the host gives us none."""
    above = own_cgroup()
    if above is None:
        return None
    folder = "%s/%s" % (above, name)
    remove_cgroup(folder)  # an empty one, of a runner that was killed
    try:
        os.mkdir(folder)
    except OSError:
        return None
    return folder


def join_cgroup(folder: "str | None") -> None:
    """Put this process into a cgroup; a host that does not let us has us do without."""
    try:
        if folder:
            with open(folder + "/cgroup.procs", "w") as file:
                file.write("0")
    except OSError:
        pass


def members(folder: "str | None") -> "list[int]":
    """Return the pids of all in a cgroup and in those below it, but zombies."""
    found = []
    for at, _, _ in os.walk(folder) if folder else ():
        try:
            with open(at + "/cgroup.procs") as file:
                found += [int(pid) for pid in file.read().split()]
        except OSError:
            continue
    return [pid for pid in found if (stat_of(pid) or "Z")[0] not in "ZX"]


def remove_cgroup(folder: "str | None") -> None:
    """Remove a cgroup and those below it, unless somebody is still in there."""
    for at, _, _ in os.walk(folder, topdown=False) if folder else ():
        try:
            os.rmdir(at)
        except OSError:
            pass


# --- The files of one process ---------------------------------------------------------------------------------------


class Place:
    """Where the files of one process are, below a root."""

    def __init__(self, root: str, job: str, process: str) -> None:
        self.root, self.job, self.process = root, job, process
        self.job_folder = os.path.join(root, "jobs", job)
        self.folder = os.path.join(self.job_folder, process)
        self.job_file = os.path.join(self.job_folder, "job.json")
        self.next = os.path.join(self.folder, "next.json")
        self.run = os.path.join(self.folder, "run.json")
        self.stop = os.path.join(self.folder, "stop.json")
        self.exits = os.path.join(self.folder, "exit")
        self.lease = os.path.join(self.job_folder, "lease")
        self.lock = os.path.join(root, "locks", job, process + ".lock")

    def config(self, digest: str, kind: str) -> str:
        """Return this process's file in one version of the job's config: its ``process``, or its ``env``.

        Versions lie side by side and are never changed: job.json names the one that counts, so it is old or new.
        """
        return os.path.join(self.job_folder, "config", digest[:16], kind, self.process + ".json")

    def exit(self, generation: int) -> str:
        """Return the path of a generation's exit record."""
        return os.path.join(self.exits, "%d.json" % generation)

    def mark(self, generation: int) -> str:
        """Return what the environment of every process of that generation's tree carries."""
        return "%s:%s:%d:%s" % (self.job, self.process, generation, self.root)

    def last_generation(self) -> int:
        """Return the newest generation that has started here, 0 before the first."""
        newest = (read_json(self.run) or {}).get("generation", 0)
        try:
            names = os.listdir(self.exits)
        except OSError:
            names = []
        found = [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()]
        return max(found + [int(newest)])

    def is_free(self) -> bool:
        """Tell whether nothing of this process lives: neither its runner nor any holder of its lock."""
        fd = self.open_lock()
        try:
            return try_lock(fd)
        finally:
            os.close(fd)

    def open_lock(self) -> int:
        """Return a descriptor of the lock file, which is made when missing and never deleted."""
        os.makedirs(os.path.dirname(self.lock), mode=0o700, exist_ok=True)
        return os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def end_leftovers(self, grace: float = 2.0) -> "tuple[list[int], list[int]]":
        """End what a killed runner left behind, and record its generation as lost; return (ended, survivors)."""
        run = read_json(self.run) or {}
        if run.get("runner_pid") != os.getpid() and is_runner_alive(run):
            return [], []  # somebody started it meanwhile: nothing of it is left over
        generation = run.get("generation", 0)
        session, cgroup = (run.get("pid"), run.get("cgroup")) if run.get("boot_id") == boot_id() else (None, None)
        ended, survivors = end_all(
            lambda: leftovers(self.mark(generation), self.lock, cgroup, session, run.get("ticks")), grace
        )
        remove_cgroup(cgroup)
        if generation and not (read_json(self.exit(generation)) or {}).get("complete"):
            self.record_lost(run, ended, survivors)
        return ended, survivors

    def record_lost(self, run: "dict[str, Any]", ended: "list[int]", survivors: "list[int]") -> None:
        """Write the exit record of a generation whose end nobody saw; what was recorded before stays."""
        record = read_json(self.exit(run["generation"])) or {
            "format": FORMAT, "job": self.job, "process": self.process,
            "generation": run["generation"], "owner": run.get("owner"), "pid": run.get("pid"),
            "boot_id": run.get("boot_id"), "started_at": run.get("started_at"), "ended_at": time.time(),
            "seconds": None, "exit_code": None, "signal": None, "core": False, "reason": "lost",
            "message": "its runner was killed, or the host went down: nobody saw how it ended",
            "stop": None, "final": True, "restart": None, "positions": run.get("positions"), "dropped": None,
        }  # fmt: skip
        record.update(final=True, complete=not survivors, ended=ended, survivors=survivors)
        os.makedirs(self.exits, mode=0o700, exist_ok=True)
        write_json(self.exit(run["generation"]), record)


def try_lock(fd: int) -> bool:
    """Take the lock if it is free, and tell."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False


# --- Logs -----------------------------------------------------------------------------------------------------------


class Log:
    """One stream's log file, written and rotated here, with an index of positions.

    A position counts all bytes ever written to the stream. The index begins with a line ``base inode``: the position
    of the first byte of the file with that inode; then lines ``position time generation [dropped]``.
    Everything else (which byte of which rotated file) follows from the sizes of the files.
    """

    def __init__(self, options: "dict[str, Any]", index: str, generation: int, position: int) -> None:
        self.path, self.index_path, self.generation = options["path"], index, generation
        self.maxbytes, self.backups = options["maxbytes"], options["backups"]
        self.position = position
        self.dropped = self.unsaid = 0
        self.noted = (-INDEX_SECONDS, position)
        self.fd = self.index = -1
        self.open()
        self.start = self.position

    def open(self) -> None:
        """Open the file where it is now; one that is not the one we knew begins at the current position."""
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        found = os.fstat(self.fd)
        base, inode, entries = read_index(self.index_path)
        if inode == found.st_ino and base + found.st_size >= self.position:
            self.base = base
            self.position = base + found.st_size
        else:
            self.base = self.position - found.st_size
        self.inode, self.size = found.st_ino, found.st_size
        self.write_index(entries)

    def write_index(self, entries: "list[str]") -> None:
        """Replace the index, keeping what still leads to a byte that exists."""
        oldest = self.base - self.rotated_bytes()
        kept = [entry for entry in entries if int(entry.split()[0]) >= oldest]
        part = self.index_path + ".part"
        if self.index >= 0:
            os.close(self.index)
        self.index = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.note("\n".join(["%d %d" % (self.base, self.inode)] + kept) + "\n")
        os.rename(part, self.index_path)

    def rotated_bytes(self) -> int:
        """Return how many bytes the rotated files hold."""
        total = 0
        for number in range(1, self.backups + 1):
            try:
                total += os.stat("%s.%d" % (self.path, number)).st_size
            except OSError:
                break
        return total

    def note(self, text: str) -> None:
        """Add to the index; a full disk costs only the note."""
        try:
            os.write(self.index, text.encode())
        except OSError:
            pass

    def write(self, data: bytes) -> None:
        """Append ``data``; what cannot be written is counted, never waited for."""
        found = os.fstat(self.fd)
        if found.st_nlink == 0 or found.st_size != self.size:
            self.reopen()
        if self.is_to_note(time.monotonic()) or self.unsaid:
            self.noted = (time.monotonic(), self.position)
            dropped = " %d" % self.unsaid if self.unsaid else ""
            self.note("%d %.3f %d%s\n" % (self.position, time.time(), self.generation, dropped))
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, data[written:] if written else data)
            self.unsaid = 0
        except OSError:
            self.dropped += len(data) - written
            self.unsaid += len(data) - written
        self.position += written
        self.size += written
        if self.maxbytes and self.size >= self.maxbytes:
            self.rotate()

    def is_to_note(self, now: float) -> bool:
        """Tell whether the index needs to know when what comes now is written: it stays small beside the log."""
        seconds, count = now - self.noted[0], self.position - self.noted[1]
        return seconds >= INDEX_SECONDS or (seconds >= INDEX_STEP and count >= INDEX_BYTES)

    def reopen(self) -> None:
        """Go on in a new file where somebody removed, cut or replaced ours (supervisorctl clear, logrotate)."""
        os.close(self.fd)
        self.open()

    def rotate(self) -> None:
        """Shift the files by one, as supervisord names them; the oldest is emptied before it goes.

        supervisord keeps the file of its program's start open, and would keep the disk's space with it.
        """
        try:
            if self.backups:
                last = "%s.%d" % (self.path, self.backups)
                if os.path.exists(last):
                    os.truncate(last, 0)
                for number in range(self.backups - 1, 0, -1):
                    if os.path.exists("%s.%d" % (self.path, number)):
                        os.rename("%s.%d" % (self.path, number), "%s.%d" % (self.path, number + 1))
                os.rename(self.path, self.path + ".1")
            else:
                os.truncate(self.path, 0)
                os.unlink(self.path)
            self.reopen()
        except OSError:
            # No room, or no right, to rotate: the file grows on, which loses nothing.
            self.maxbytes += self.maxbytes

    def close(self) -> None:
        """Let go of the files."""
        os.close(self.fd)
        os.close(self.index)


def read_index(path: str) -> "tuple[int, int, list[str]]":
    """Return (base, inode, entries) of an index; (0, -1, []) where there is none."""
    try:
        with open(path) as file:
            lines = file.read().split("\n")
        base, inode = lines[0].split()
        return int(base), int(inode), [line for line in lines[1:] if line.count(" ") >= 2]
    except (OSError, ValueError):
        return 0, -1, []


# --- Restart policy -------------------------------------------------------------------------------------------------


class Restarts:
    """Decides whether an ended program starts again in place, and how long that waits."""

    def __init__(self, spec: "dict[str, Any]") -> None:
        self.spec, self.policy = spec, spec["restart"]
        self.times = []  # type: list[float]
        self.false_starts = 0

    def delay(self, exit_code: "int | None", seconds: float, now: float) -> "float | None":
        """Return the seconds to wait before the next start in place, or None for none.

        :param exit_code: of the program, None when a signal ended it.
        :param seconds: how long it ran.
        :param now: a monotonic time.
        """
        expected = exit_code in self.spec["exitcodes"]
        if seconds < self.spec["startsecs"] and not expected:
            # supervisord's rule for a program that does not stay up: startretries, each a second later than the last.
            self.false_starts += 1
            return float(self.false_starts) if self.false_starts <= self.spec["startretries"] else None
        self.false_starts = 0
        when = self.policy["when"]
        if when == "never" or (when == "unexpected" and expected):
            return None
        self.times = [moment for moment in self.times if now - moment < self.policy["interval"]]
        if self.policy["attempts"] is not None and len(self.times) >= self.policy["attempts"]:
            return None
        delay = min(self.policy["delay"] * self.policy["backoff"] ** len(self.times), self.policy["max_delay"])
        self.times.append(now)
        spread = int.from_bytes(os.urandom(2), "big") / 65535.0 * 2 - 1
        return float(max(0.0, delay * (1 + self.policy["jitter"] * spread)))


class Silence:
    """Tells when nothing has been heard for too long, by a clock that nobody steps.

    :param limit: seconds, None for no limit.
    :param path: a file whose changes are heard, None where the owner sets ``since`` itself.
    """

    def __init__(self, limit: "float | None", path: "str | None" = None) -> None:
        self.limit, self.path = limit, path
        self.since = self.looked = time.monotonic()
        self.stamp = self.look()

    def look(self) -> "int | None":
        """Return when the file last changed, None where there is none."""
        try:
            return os.stat(self.path).st_mtime_ns if self.path else None
        except OSError:
            return None

    def due(self) -> "float | None":
        """Return when to look again; a file is looked at a few times within the limit."""
        if self.limit is None:
            return None
        return min(self.since + self.limit, self.looked + self.limit / 4) if self.path else self.since + self.limit

    def is_over(self) -> bool:
        """Tell whether the limit has passed; a file is looked at first."""
        now = time.monotonic()
        if self.limit is None or now < (self.due() or 0.0):
            return False
        stamp, self.looked = self.look(), now
        if stamp != self.stamp:
            self.stamp, self.since = stamp, now
        return now - self.since >= self.limit


# --- One process, from order to end ---------------------------------------------------------------------------------


class Stopped(Exception):
    """A TERM came while nothing ran."""


class CouldNotStart(Exception):
    """The command could not be executed; the message says why, in words."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Runner:
    """One process of a job, generation after generation."""

    def __init__(self, place: Place, spec: "dict[str, Any]") -> None:
        self.place, self.spec = place, spec
        self.order = read_json(place.next) or {}
        self.restarts = Restarts(spec)
        self.libc = None  # type: Any
        self.cgroup = None  # type: str | None
        self.wakeup = self.wake_on_signals()
        self.stopping = False
        self.generation = 0
        self.restarted = 0
        self.pid = 0
        self.lock = -1

    def wake_on_signals(self) -> int:
        """Return a descriptor that reads one byte, its number, for each signal that came."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for name in (*FORWARDED, "SIGTERM", "SIGCHLD"):
            signal.signal(getattr(signal, name), lambda *_: None)
        return reader

    def signals(self) -> "list[int]":
        """Return the numbers of the signals that came since the last call."""
        try:
            return list(os.read(self.wakeup, 4096))
        except OSError:
            return []

    # Before the program

    def run(self) -> int:
        """Do what was ordered and return the exit status for supervisord."""
        attaches = self.order.get("order") == "attach"
        if attaches:
            # An order is carried out once: the next start is an operator's.
            write_json(self.place.next, dict(self.order, order="start"), durable=False)
        self.lock = self.place.open_lock()
        if not try_lock(self.lock):
            survivor = self.survivor()
            if survivor:
                return self.stand_in(survivor)
        self.generation = self.place.last_generation()
        run = read_json(self.place.run) or {}
        if run and not (read_json(self.place.exit(self.generation)) or {}).get("complete"):
            self.place.end_leftovers()
        if attaches:
            return self.status_of(self.generation)
        if self.order.get("generation", 0) <= self.generation:
            # Already carried out: this start is an operator's, by supervisorctl.
            self.order = {"generation": self.generation + 1, "owner": run.get("owner"), "by": "supervisorctl"}
        self.generation = self.order["generation"] - 1
        return self.generations()

    def survivor(self) -> "dict[str, Any] | None":
        """Wait for the lock; return the record of a live runner that keeps it and that nobody ordered to be replaced.

        Who holds the lock decides nothing by itself: the order does, and the record of who runs.
        """
        deadline = time.monotonic() + PREDECESSOR_PATIENCE
        unclaimed_until = time.monotonic() + 5.0
        while not try_lock(self.lock):
            run = read_json(self.place.run) or {}
            alive = is_runner_alive(run)
            replaces = self.order.get("order") == "start" and self.order.get("generation", 0) > run.get("generation", 0)
            if alive and not replaces:
                return run
            now = time.monotonic()
            if not alive and now > unclaimed_until:
                self.place.end_leftovers()
            if signal.SIGTERM in self.signals():
                raise Stopped
            if now > deadline:
                raise CouldNotStart("its predecessor has not ended in %d s" % PREDECESSOR_PATIENCE, 1)
            time.sleep(0.02)
        return None

    def stand_in(self, survivor: "dict[str, Any]") -> int:
        """Stand before supervisord for a runner that outlived the last supervisord: pass signals on, end as it ends."""
        pid, ticks, boot = survivor["runner_pid"], survivor["runner_ticks"], survivor["boot_id"]
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        while is_same(pid, ticks, boot):
            poll.poll(100)
            for number in self.signals():
                if number != signal.SIGCHLD and is_same(pid, ticks, boot):
                    send(pid, number)
        generation = (read_json(self.place.run) or survivor)["generation"]
        if not (read_json(self.place.exit(generation)) or {}).get("complete"):
            self.place.end_leftovers()
        return self.status_of(generation)

    def status_of(self, generation: int) -> int:
        """Return the exit status that a recorded generation ended with; 255 where nobody saw it."""
        record = read_json(self.place.exit(generation)) or {}
        if record.get("signal"):
            return 128 + int(record["signal"])
        return 255 if record.get("exit_code") is None else int(record["exit_code"])

    # Generations

    def generations(self) -> int:
        """Run the program, and again for as long as the restart policy says; return the last exit status."""
        self.become_subreaper()
        while True:
            self.generation += 1
            delay = self.one_generation()
            if delay is None:
                return self.status_of(self.generation)
            self.write_run("backoff", {})
            if self.wait_for_stop(delay):
                record = read_json(self.place.exit(self.generation))
                record.update(final=True, restart=None, stop=self.intent(), reason=self.stop_reason())
                self.write_exit(record)
                return self.status_of(self.generation)
            self.restarted += 1

    def wait_for_stop(self, seconds: float) -> bool:
        """Wait, and tell whether a stop ended the wait."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        while not self.stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(int(left * 1000) + 1)
            self.stopping = signal.SIGTERM in self.signals()
        return True

    def become_subreaper(self) -> None:
        """Have every descendant that loses its parent come to us, not to init."""
        import ctypes

        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def one_generation(self) -> "float | None":
        """Start, supervise and record one generation; return the delay before the next one, or None."""
        os.makedirs(self.place.exits, mode=0o700, exist_ok=True)
        for suffix in (".first", ".last"):
            reserve(self.place.exit(self.generation) + suffix)
        self.started_at, self.started = time.time(), time.monotonic()
        self.pid = 0
        self.ended = set()  # type: set[int]
        self.logs = {}  # type: dict[str, Log]
        self.status = None  # type: int | None
        self.usage = None  # type: Any
        self.message = self.reason = None  # type: str | None
        self.decided = None  # type: tuple[float | None, float, float] | None
        name = "asj-%s-%s-%d-%d" % (self.place.job, self.place.process, self.generation, os.getpid())
        self.cgroup = make_cgroup(name)
        self.write_run("starting", {})
        try:
            self.open_logs()
            streams = self.start()
        except CouldNotStart as error:
            self.message, self.reason = str(error), "could_not_start"
            self.status, streams = error.status << 8, {}
        delay = self.supervise(streams) if not self.reason else self.finish(True)
        remove_cgroup(self.cgroup)
        exit_record = self.place.exit(self.generation)
        for path in (exit_record + ".first", exit_record + ".last", self.place.exit(self.generation - KEPT_RECORDS)):
            try:
                os.unlink(path)
            except OSError:
                pass
        return delay

    def open_logs(self) -> None:
        """Open the log files at the positions where the last generation ended."""
        previous = read_json(self.place.exit(self.generation - 1)) or {}
        for stream in ("stdout", "stderr"):
            options = self.spec[stream]
            if options is None or (stream == "stderr" and self.spec["redirect_stderr"]):
                continue
            position = ((previous.get("positions") or {}).get(stream) or {}).get("end", 0)
            index = os.path.join(self.place.folder, stream + ".index")
            try:
                self.logs[stream] = Log(options, index, self.generation, position)
            except OSError as error:
                raise CouldNotStart("cannot open its log %s: %s" % (options["path"], error.strerror), 1) from None

    def write_run(self, phase: str, extra: "dict[str, Any]") -> None:
        """Record what runs now."""
        run = {
            "format": FORMAT, "generation": self.generation, "owner": self.order.get("owner"), "phase": phase,
            "by": self.order.get("by"), "pid": None, "ticks": None, "boot_id": boot_id(),
            "runner_pid": os.getpid(), "runner_ticks": ticks_of(os.getpid()), "started_at": self.started_at,
            "restarts": self.restarted, "positions": self.positions(), "hash": self.spec["hash"],
            "cgroup": self.cgroup,
        }  # fmt: skip
        run.update(extra)
        try:
            write_json(self.place.run, run, durable=False)
        except OSError as error:
            if phase == "starting" and not extra:
                raise CouldNotStart("cannot record its start in %s: %s" % (self.place.run, error.strerror), 1) from None

    def positions(self) -> "dict[str, dict[str, int]]":
        """Return where this generation's output begins and ends in its streams."""
        return {name: {"start": log.start, "end": log.position} for name, log in self.logs.items()}

    def start(self) -> "dict[int, str]":
        """Start the program, recorded before it executes; return its output's descriptors by stream.

        :raises CouldNotStart: with the reason in words.
        """
        identity = resolve_user(self.spec["user"])
        pipes = {"stdout": os.pipe()}
        if not self.spec["redirect_stderr"]:
            pipes["stderr"] = os.pipe()
        go, failure = os.pipe(), os.pipe()
        try:
            self.pid = os.fork()
        except OSError as error:
            raise CouldNotStart("this host cannot start another process: %s" % error.strerror, 1) from None
        if self.pid == 0:
            self.become_program(identity, pipes, go, failure)
        for _, writer in pipes.values():
            os.close(writer)
        os.close(go[0])
        os.close(failure[1])
        child = {"pid": self.pid, "ticks": ticks_of(self.pid)}
        self.write_run("starting", child)
        try:
            os.write(go[1], b"!")
        except BrokenPipeError:
            pass  # it has failed already, and says why
        os.close(go[1])
        with os.fdopen(failure[0], "rb") as file:
            words = file.read().decode("utf-8", "replace")
        if words:
            os.waitpid(self.pid, 0)
            for reader, _ in pipes.values():
                os.close(reader)
            raise CouldNotStart(words[1:], 126 + int(words[0]))
        self.write_run("running", child)
        for reader, _ in pipes.values():
            os.set_blocking(reader, False)
        return {reader: name for name, (reader, _) in pipes.items()}

    def become_program(
        self,
        identity: "tuple[int, int, str, str] | None",
        pipes: "dict[str, tuple[int, int]]",
        go: "tuple[int, int]",
        failure: "tuple[int, int]",
    ) -> None:
        """In the child: become the user's command, or tell why not and end."""
        parent = os.getppid()
        environment = {}  # type: dict[str, str]
        try:
            signal.set_wakeup_fd(-1)
            for number in range(1, 32):
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.setsid()
            join_cgroup(self.cgroup)
            stdout = pipes["stdout"][1]
            for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, stdout)):
                os.dup2(source, target)
            os.dup2(pipes["stderr"][1] if "stderr" in pipes else stdout, 2)
            os.set_inheritable(self.lock, True)
            environment = enter(self.spec, self.place, identity)
            environment[MARK] = self.place.mark(self.generation)
            # Without its runner nobody would read its output, nor see its end.
            self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent or not os.read(go[0], 1):
                os._exit(125)
            execute(self.spec["argv"], environment)
        except OSError as error:
            subject = error.filename if error.filename is not None else self.spec["argv"][0]
            if isinstance(subject, bytes):
                subject = subject.decode("utf-8", "surrogateescape")
            if "/" not in self.spec["argv"][0] and str(subject).endswith("/" + self.spec["argv"][0]):
                subject = "%s (looked for in PATH=%s)" % (self.spec["argv"][0], environment.get("PATH"))
            missing = error.errno == errno.ENOENT
            words = "%d%s: %s" % (missing, error.strerror, subject)
            if missing and os.path.isfile(subject):
                words += " (the file is there: the interpreter that its first line names is not)"
            os.write(failure[1], words.encode("utf-8", "surrogateescape"))
        except BaseException as error:
            os.write(failure[1], ("0%s: %s" % (type(error).__name__, error)).encode("utf-8", "replace"))
        os._exit(127)

    # While it runs

    def supervise(self, streams: "dict[int, str]") -> "float | None":
        """Copy output, pass signals on, and see the whole tree to its end; return the delay before a restart."""
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        for fd in streams:
            poll.register(fd, select.POLLIN)
        self.deadline = None  # type: float | None
        self.give_up_at = 0.0
        self.watchdog = Silence(self.spec.get("watchdog"), self.spec.get("heartbeat_file"))
        self.lease = Silence(self.spec.get("lease"), self.place.lease)
        recorded, alive = False, True
        while alive:
            for fd, _ in poll.poll(self.patience()):
                if fd == self.wakeup:
                    for number in self.signals():
                        self.on_signal(number)
                elif not self.copy(fd, streams[fd]):
                    poll.unregister(fd)
                    os.close(fd)
                    del streams[fd]
            alive = self.reap()
            if self.status is not None and not recorded and alive:
                recorded = True
                self.drain(streams)
                self.finish(False)
                self.end_tree(self.spec["stopwaitsecs"])
            self.look_for_silence()
            if self.deadline is not None and time.monotonic() >= self.deadline and not self.kill_tree():
                break
        self.drain(streams)
        for fd in streams:
            os.close(fd)
        return self.finish(not alive)

    def patience(self) -> "int | None":
        """Return the milliseconds until something is due, None for never."""
        due = [self.deadline] if self.deadline is not None else [self.watchdog.due(), self.lease.due()]
        moments = [moment for moment in due if moment is not None]
        return max(0, int((min(moments) - time.monotonic()) * 1000)) + 1 if moments else None

    def copy(self, fd: int, stream: str) -> bool:
        """Move what the program printed to its log; false at the end of the stream."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        log = self.logs.get(stream)
        if log and data:
            log.write(data)
        if data and not self.watchdog.path:
            self.watchdog.since = time.monotonic()
        if self.spec["tee"] and data:
            try:
                os.write(1 if stream == "stdout" else 2, data)
            except OSError:
                pass
        return bool(data)

    def drain(self, streams: "dict[int, str]") -> None:
        """Move what is in the pipes now, at most what a pipe can hold: a survivor may print for ever."""
        for fd, stream in streams.items():
            for _ in range(16):
                try:
                    data = os.read(fd, CHUNK)
                except OSError:
                    break
                if not data:
                    break
                if stream in self.logs:
                    self.logs[stream].write(data)

    def on_signal(self, number: int) -> None:
        """Begin the stop on TERM; hand every other signal to the program."""
        if number == signal.SIGTERM and not self.stopping:
            self.stopping = True
            self.begin_stop()
        elif number not in (signal.SIGCHLD, signal.SIGTERM) and self.status is None:
            send(self.pid, number)

    def begin_stop(self) -> None:
        """Ask the program to end, unless it has, or was asked before; at the deadline the tree is killed."""
        if self.status is not None or self.deadline is not None:
            return
        stopsignal = getattr(signal, "SIG" + self.spec["stopsignal"])
        for pid in self.tree() if self.spec["stopasgroup"] else [self.pid]:
            send(pid, stopsignal)
            send(pid, signal.SIGCONT)
        self.deadline = time.monotonic() + self.spec["stopwaitsecs"]
        self.write_run("stopping", {"pid": self.pid, "ticks": ticks_of(self.pid)})

    def look_for_silence(self) -> None:
        """Stop a program that hangs, which may be restarted, or that nobody asks for any more, which is over."""
        if self.deadline is not None or self.status is not None:
            return
        if self.watchdog.is_over():
            subject = self.watchdog.path or "its output"
            self.give_up("hung", "it hung: nothing new of %s for %g s" % (subject, self.watchdog.limit or 0))
        elif self.lease.is_over():
            self.stopping = True
            self.give_up("lease_ended", "nobody had asked for it for %g s" % (self.lease.limit or 0))

    def give_up(self, reason: str, message: str) -> None:
        """Stop the program for a reason of our own."""
        self.reason, self.message = reason, message
        self.begin_stop()

    def tree(self) -> "list[int]":
        """Return the pids of all that the program has started and that lives."""
        return sorted({*descendants(os.getpid()), *members(self.cgroup)})

    def reap(self) -> bool:
        """Collect who has ended; false when the whole tree is gone."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status, self.usage = status, usage

    def end_tree(self, grace: float) -> None:
        """Ask what the program left behind to end; what does not is killed at the deadline."""
        for pid in self.tree():
            self.ended.add(pid)
            send(pid, signal.SIGTERM)
            send(pid, signal.SIGCONT)
        if self.deadline is None:
            self.deadline = time.monotonic() + grace

    def kill_tree(self) -> bool:
        """Kill what is left, again and again while it forks; false when it is time to give up."""
        now = time.monotonic()
        self.give_up_at = self.give_up_at or now + GIVE_UP_AFTER_KILL
        for pid in self.tree():
            if pid != self.pid:
                self.ended.add(pid)
            send(pid, signal.SIGKILL)
        self.deadline = now + 0.05
        return now < self.give_up_at

    # The end

    def intent(self) -> "dict[str, Any] | None":
        """Return who ordered the stop of this generation, None where we were not asked."""
        stop = read_json(self.place.stop) or {}
        return stop if stop.get("generation") == self.generation else None

    def stop_reason(self) -> str:
        """Return the exit record's reason after a TERM."""
        return "stopped" if self.intent() else "terminated"

    def finish(self, complete: bool) -> "float | None":
        """Write the exit record; return the delay before a restart in place, or None."""
        status = self.status if self.status is not None else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        if complete:
            for log in self.logs.values():
                log.close()
        if self.decided is None:
            now = time.monotonic()
            seconds = now - self.started
            hung = self.reason == "hung"
            self.decided = (self.restarts.delay(None if hung else code, seconds, now), seconds, time.time())
        delay, seconds, ended_at = self.decided
        if self.stopping:
            delay = None
        reason = self.reason or ("signalled" if number else "exited")
        if self.stopping and not self.reason:
            reason = self.stop_reason()
        usage = self.usage
        self.write_exit({
            "format": FORMAT, "job": self.place.job, "process": self.place.process, "generation": self.generation,
            "owner": self.order.get("owner"), "pid": self.pid or None, "boot_id": boot_id(),
            "started_at": self.started_at, "ended_at": ended_at, "seconds": round(seconds, 6),
            "exit_code": code, "signal": number, "core": bool(number and os.WCOREDUMP(status)), "reason": reason,
            "message": self.message, "stop": self.intent() if self.stopping else None, "final": delay is None,
            "restart": None if delay is None else {"attempt": self.restarted + 1, "delay": delay},
            "max_rss_kib": usage.ru_maxrss if usage else None, "user_seconds": usage.ru_utime if usage else None,
            "system_seconds": usage.ru_stime if usage else None, "positions": self.positions(),
            "dropped": sum(log.dropped for log in self.logs.values()), "complete": complete,
            "ended": sorted(self.ended), "survivors": [] if complete else self.tree(),
        })  # fmt: skip
        return delay

    def write_exit(self, record: "dict[str, Any]") -> None:
        """Put the exit record in its place, on space that was set aside for it."""
        path = self.place.exit(self.generation)
        for suffix in (".first", ".last"):
            if os.path.exists(path + suffix):
                write_json(path, record, part=path + suffix)
                return
        write_json(path, record)


# --- Entering the program's world -----------------------------------------------------------------------------------


def resolve_user(user: "str | None") -> "tuple[int, int, str, str] | None":
    """Return (uid, gid, name, home) of the user to become, None to stay.

    :raises CouldNotStart: unknown, or not ours to become.
    """
    if user is None:
        return None
    import pwd

    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise CouldNotStart("this host has no user %s" % user, 126) from None
    if os.getuid() not in (0, entry.pw_uid):
        raise CouldNotStart(
            "only root may run a program as %s, and supervisord here runs as uid %d" % (user, os.getuid()), 126
        )
    return entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir


def enter(spec: "dict[str, Any]", place: Place, identity: "tuple[int, int, str, str] | None") -> "dict[str, str]":
    """Take on umask, user and directory of a process, and return its environment."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (spec["max_fds"], hard))
    environment = dict(os.environ)
    values = read_json(place.config(spec["hash"], "env"))
    if values is None:
        raise OSError(
            errno.ENOENT, "Its environment is gone (install the job again)", place.config(spec["hash"], "env")
        )
    os.umask(0o022 if spec["umask"] is None else spec["umask"])
    if identity:
        uid, gid, name, home = identity
        if os.getuid() == 0:
            os.initgroups(name, gid)
            os.setgid(gid)
            os.setuid(uid)
        environment.update(USER=name, LOGNAME=name, HOME=home)
    environment.update(values)
    home = environment.get("HOME") or "/"
    directory = spec["directory"] or (home if os.path.isdir(home) else "/")
    if directory == "~" or directory.startswith("~/"):
        directory = home + directory[1:]
    try:
        os.chdir(directory.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise OSError(error.errno, "Its directory cannot be entered: %s" % error.strerror, directory) from None
    return environment


def execute(argv: "list[str]", environment: "dict[str, str]") -> None:
    """Become the command; a name without a slash is looked up in the PATH that the command itself will have."""
    words = [word.encode("utf-8", "surrogateescape") for word in argv]
    os.execvpe(words[0], words, {
        name.encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape")
        for name, value in environment.items()
    })  # fmt: skip


def main(argv: "list[str]") -> int:
    """Run as ``runner [exec] JOB PROCESS`` and return the exit status."""
    place = Place(os.path.dirname(os.path.dirname(os.path.abspath(argv[0]))), argv[-2], argv[-1])
    digest = (read_json(place.job_file) or {}).get("hash", "")
    spec = read_json(place.config(digest, "process"))
    if spec is None:
        os.write(2, ("%s is missing: install the job again\n" % place.config(digest, "process")).encode())
        return 125
    if argv[1] == "exec":
        execute(spec["argv"], enter(spec, place, resolve_user(spec["user"])))
    runner = Runner(place, spec)
    try:
        return runner.run()
    except Stopped:
        return 128 + int(signal.SIGTERM)
    except CouldNotStart as error:
        os.write(2, ("%s\n" % error).encode())
        return error.status
    except BaseException:
        import traceback

        with open(os.path.join(place.folder, "runner.log"), "a") as file:
            traceback.print_exc(file=file)
        return 125


def run() -> None:
    """Be the runner; the interpreter's own farewell would only delay supervisord's notice of the end."""
    os._exit(main(sys.argv))
