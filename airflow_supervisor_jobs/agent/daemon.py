"""supervisord: found, started, asked, told, stopped."""

import configparser
import http.client
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client

from .root import Root
from .runner import read_json, ticks_of, write_json
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PASSED_ON = ("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
START_PATIENCE = 20.0
RPC_PATIENCE = 10.0
# supervisord closes so many descriptors in each child that it forks, and loses a signal that comes meanwhile.
MIN_FDS = 64
MAX_FDS = 65536
HEADER = "; Every job of this root, written anew at each change from the jobs' YAML files: version %d\n"
RUNNING = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")
# Faults of supervisor.xmlrpc.Faults
BAD_NAME, SPAWN_ERROR, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED, STILL_RUNNING = 10, 50, 60, 70, 90, 91


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: str, timeout: float, credentials: "tuple[str, str] | None") -> None:
        super().__init__()
        self.path, self.timeout, self.credentials = path, timeout, credentials

    def make_connection(self, host: "Any") -> http.client.HTTPConnection:
        """Return a connection to the socket, whatever the host."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(self.timeout)
        connection.sock.connect(self.path)
        return connection

    def send_headers(self, connection: "Any", headers: "Any") -> None:
        """Add the user and password where the config asks for them."""
        if self.credentials:
            import base64

            token = base64.b64encode(":".join(self.credentials).encode()).decode()
            headers = [*headers, ("Authorization", "Basic " + token)]
        super().send_headers(connection, headers)


class Daemon:
    """The supervisord of one root, or one that was there before us and is only attached to."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.settings_file = os.path.join(root.path, "daemon.json")
        self.loaded_file = os.path.join(root.path, "programs.loaded.json")

    # What it is

    def settings(self) -> "dict[str, Any]":
        """Return what the jobs' host file says of it: conf, attach, command."""
        return read_json(self.settings_file) or {}

    def set(self, settings: "dict[str, Any]") -> None:
        """Keep what the host file says; it counts from the next start on."""
        if settings != self.settings():
            if settings.get("attach") and self.own_pid():
                raise Refusal(
                    "config", "a supervisord of our own runs in %s: end its jobs before attaching" % self.root.path
                )
            write_json(self.settings_file, settings)

    def retention(self) -> "dict[str, Any]":
        """Return for how long and how large the files of removed jobs are kept: age in seconds, size in bytes."""
        return self.settings().get("retention") or {}

    def attached(self) -> "str | None":
        """Return the config file of the supervisord that we are guests of, None for our own."""
        return self.settings().get("attach")

    def conf(self) -> str:
        """Return the config file of the supervisord that serves this root."""
        return self.attached() or self.root.conf

    def parsed(self) -> configparser.RawConfigParser:
        """Return that file's contents."""
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
        parser.read(self.conf())
        return parser

    def access(self) -> "tuple[str, tuple[str, str] | None]":
        """Return the socket's path and the (user, password) it asks for."""
        parser = self.parsed()
        section = "unix_http_server"
        path = parser.get(section, "file", fallback=None)
        if path is None:
            if self.attached():
                raise Refusal("config", "%s has no [unix_http_server]: nothing to talk to it by" % self.conf())
            return self.root.socket, None
        user = parser.get(section, "username", fallback=None)
        path = path.replace("%(here)s", os.path.dirname(self.conf()))
        return path, (user, parser.get(section, "password", fallback="")) if user else None

    def find(self, command: "str | None" = None) -> "tuple[str | None, list[str]]":
        """Return where a supervisord was found (option, path, python, bundled, or None) and its command."""
        command = command or self.settings().get("command")
        if command:
            return "option", [os.path.expanduser(command)]
        beside = os.path.join(os.path.dirname(sys.executable), "supervisord")
        found = shutil.which("supervisord") or (beside if os.access(beside, os.X_OK) else None)
        if found:
            return "path", [found]
        library = self.bundled()
        if library:
            code = "import sys; sys.path.insert(0, %r); from supervisor.supervisord import main; main()" % library
            return "bundled", [sys.executable, "-S", "-c", code]
        check = [sys.executable, "-c", "import supervisor.supervisord"]
        if subprocess.call(check, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()) == 0:
            return "python", [sys.executable, "-m", "supervisor.supervisord"]
        return None, []

    def bundled(self) -> "str | None":
        """Return the folder of the newest supervisor that a client has brought."""
        folder = os.path.join(self.root.path, "lib")
        names = sorted(name for name in os.listdir(folder) if name.startswith("supervisor-") and "." in name)
        return os.path.join(folder, names[-1]) if names else None

    # Talking to it

    def rpc(self, timeout: float = RPC_PATIENCE) -> "Any":
        """Return supervisord's XML-RPC interface.

        :param timeout: seconds without an answer after which a call fails.
        """
        path, credentials = self.access()
        transport = UnixTransport(path, timeout, credentials)
        return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport)

    def own_pid(self) -> "int | None":
        """Return the pid of the live supervisord of this root."""
        try:
            with open(self.root.pidfile) as file:
                pid = int(file.read())
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if self.root.conf.encode() in words else None

    def pid(self) -> "int | None":
        """Return the pid of the live supervisord that serves this root."""
        if not self.attached():
            return self.own_pid()
        try:
            return int(self.rpc(2.0).supervisor.getPID())
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return None

    def info(self, names: "list[str]", timeout: float = RPC_PATIENCE) -> "dict[str, dict[str, Any]]":
        """Return getProcessInfo of the ``group:process`` names; what it does not know, or cannot say, is left out."""
        if not names or not self.pid():
            return {}
        calls = [{"methodName": "supervisor.getProcessInfo", "params": [name]} for name in names]
        try:
            answers = self.rpc(timeout).system.multicall(calls)
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return {}
        return {name: answer for name, answer in zip(names, answers) if "statename" in answer}

    # Life

    def start(self) -> "tuple[int, bool]":
        """Return the pid of a supervisord that answers, and whether it had to be started.

        The caller holds the root's lock.
        """
        self.root.check()
        pid = self.living()
        if pid:
            return pid, False
        if self.attached():
            raise Refusal(
                "supervisord", "the supervisord of %s does not run; its own service starts it" % self.attached()
            )
        source, command = self.find()
        if not source:
            raise Refusal("no_supervisord", "this host has no supervisord, and none was brought")
        self.write_conf()
        self.write_control(source, command)
        with tempfile.TemporaryFile() as output:
            status = subprocess.call(
                [*command, "-c", self.root.conf],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment(), cwd=os.path.expanduser("~"), start_new_session=True, preexec_fn=allow_many_fds,
            )  # fmt: skip
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip()
        return self.wait_for_answer(status, said), True

    def living(self) -> "int | None":
        """Return the pid of a supervisord that answers, None where there is none; one that is ending is waited for."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            pid = self.pid()
            if not pid or self.answers():
                return pid
            if time.monotonic() > deadline:
                raise Refusal("supervisord", "supervisord (pid %d) lives and does not answer" % pid)
            time.sleep(0.01)

    def answers(self) -> bool:
        """Tell whether supervisord answers, and is not about to end."""
        try:
            return self.rpc().supervisor.getState()["statename"] == "RUNNING"  # type: ignore[no-any-return]
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def wait_for_answer(self, status: int, said: str) -> int:
        """Return the pid once the new supervisord answers, which it does after about 0.1 s."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            pid = self.own_pid()
            if pid and self.answers():
                return pid
            if status != 0 or time.monotonic() > deadline:
                raise Refusal(
                    "supervisord", "supervisord could not be started: %s" % (said[-2000:] or "see supervisord.log")
                )
            time.sleep(0.01)

    def stop(self) -> bool:
        """Stop our own supervisord and wait until it is gone; tell whether one lived. Under the root's lock."""
        pid = self.own_pid()
        if self.attached() or not pid:
            return False
        for name in self.groups():
            # It waits up to a second for each group that is still listed.
            self.forget_group(name)
        try:
            self.rpc().supervisor.shutdown()
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            os.kill(pid, 15)
        deadline = time.monotonic() + START_PATIENCE
        while self.own_pid() == pid:
            if time.monotonic() > deadline:
                raise Refusal("supervisord", "supervisord (pid %d) does not end" % pid)
            time.sleep(0.01)
        return True

    # Its configuration

    def write_conf(self) -> None:
        """Write supervisord.conf: what we need, over what the host file says, over our defaults."""
        parser = configparser.RawConfigParser()
        parser.read_dict({
            "unix_http_server": {"chmod": "0600"},
            "supervisord": {
                "logfile": "%(here)s/supervisord.log", "logfile_maxbytes": "10MB", "logfile_backups": "3",
                "childlogdir": "%(here)s", "umask": "077", "minfds": str(MIN_FDS),
            },
            "supervisorctl": {},
        })  # fmt: skip
        parser.read_string(self.settings().get("conf") or "")
        files = parser.get("include", "files", fallback="")
        parser.read_dict({
            "unix_http_server": {"file": "%(here)s/supervisord.sock"},
            "supervisord": {"pidfile": "%(here)s/supervisord.pid", "nodaemon": "false"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
            "include": {"files": ("%(here)s/programs.conf " + files).strip()},
        })  # fmt: skip
        if not parser.has_option("supervisorctl", "serverurl"):
            parser.set("supervisorctl", "serverurl", "unix://%(here)s/supervisord.sock")
        part = "%s.%d" % (self.root.conf, os.getpid())
        with open(part, "w") as file:
            file.write("; Written anew at each start of this supervisord; the host's YAML file is its source.\n")
            parser.write(file, space_around_delimiters=False)
            os.fsync(file.fileno())
        os.rename(part, self.root.conf)
        if not os.path.exists(self.root.programs):
            open(self.root.programs, "w").close()

    def write_control(self, source: str, command: "list[str]") -> None:
        """Leave ``bin/supervisorctl``, which needs no installation and no -c."""
        import shlex

        words = [word.replace("supervisor.supervisord", "supervisor.supervisorctl") for word in command]
        if source in ("option", "path"):
            words = [os.path.join(os.path.dirname(command[0]), "supervisorctl")]
        path = os.path.join(self.root.path, "bin", "supervisorctl")
        quoted = " ".join(shlex.quote(word) for word in [*words, "-c", self.root.conf])
        with open(path, "w") as file:
            file.write('#!/bin/sh\nexec %s "$@"\n' % quoted)
        os.chmod(path, 0o700)

    def include(self) -> str:
        """Return the file through which supervisord sees our programs."""
        if not self.attached():
            return self.root.programs
        patterns = self.parsed().get("include", "files", fallback="").split()
        if not patterns or "*" not in os.path.basename(patterns[0]):
            raise Refusal("config", "%s includes no folder (files = …/*.conf) to put our programs in" % self.conf())
        folder = os.path.dirname(os.path.join(os.path.dirname(self.conf()), patterns[0]))
        ending = os.path.basename(patterns[0]).rpartition("*")[2]
        return os.path.join(folder, "airflow-supervisor-jobs%s%s" % (self.root.path.replace("/", "-"), ending))

    def write_programs(self) -> int:
        """Write the include anew from all installed jobs; return its version, for a reload. Under the root's lock."""
        path = self.include()
        body = "".join("\n" + job["spec"]["conf"] for job in self.root.jobs())
        if self.attached():
            body = body.replace("%(here)s", self.root.path)
        version, old = read_include(path)
        if body != old:
            # Ever upward, also after somebody has removed the file.
            version = max(version, (read_json(self.loaded_file) or {}).get("version", 0)) + 1
            put(path, HEADER % version + body)
        return version

    def reload(self, version: int, gone: "list[str]" = [], again: bool = False) -> None:  # noqa: B006 (never changed)
        """Have a live supervisord take the include over, unless it has this version, for somebody who came before.

        Not under the root's lock: it takes supervisord longer the more jobs there are, and those that are installed
        meanwhile share the next reload.

        :param gone: groups of a job that was just removed.
        :param again: also what it could not take over before, as it ran.
        """
        with self.root.lock(".reload"):
            pid = self.pid()
            if not pid:
                return
            daemon = {"pid": pid, "ticks": ticks_of(pid)}
            loaded = read_json(self.loaded_file) or {}
            shared = loaded == dict(daemon, version=loaded.get("version")) and loaded["version"] >= version
            if again or self.attached() or not shared:
                version = read_include(self.include())[0]
                self.reload_groups(gone)
                write_json(self.loaded_file, dict(daemon, version=version))

    def reload_groups(self, gone: "list[str]") -> None:
        """Have supervisord add, change and drop our groups; those that run stay as they are until they end."""
        rpc = self.rpc(60.0).supervisor
        try:
            added, changed, removed = rpc.reloadConfig()[0]
        except xmlrpc.client.Fault as fault:
            raise Refusal("supervisord", "supervisord refuses the configuration: %s" % fault.faultString) from None
        except (OSError, http.client.HTTPException) as error:
            raise Refusal("supervisord", "supervisord does not answer: %s" % error) from None
        # Where we are guests, what others have pending is not ours to apply.
        ours = {*self.groups(), *gone} if self.attached() else {*added, *changed, *removed}
        for name in ours.intersection([*removed, *changed]):
            self.forget_group(name)
        for name in ours.intersection([*added, *changed]):
            try:
                rpc.addProcessGroup(name)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != ALREADY_ADDED:
                    raise Refusal("supervisord", "supervisord cannot add %s: %s" % (name, fault.faultString)) from None

    def forget_group(self, name: str) -> None:
        """Have supervisord drop a group unless it runs."""
        try:
            self.rpc().supervisor.removeProcessGroup(name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (BAD_NAME, STILL_RUNNING):
                raise Refusal("supervisord", "supervisord cannot drop %s: %s" % (name, fault.faultString)) from None

    def groups(self) -> "list[str]":
        """Return the names of the groups of this root's jobs."""
        return sorted({process["group"] for job in self.root.jobs() for process in job["spec"]["processes"]})


def read_include(path: str) -> "tuple[int, str]":
    """Return the version and the body of an include; 0 where it has none."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return 0, ""
    header, _, body = text.partition("\n")
    version = header.rpartition(" ")[2]
    return (int(version), body) if version.isdigit() else (0, body)


def put(path: str, text: str) -> None:
    """Have the file hold ``text``, old or new at every moment, also over a loss of power."""
    part = "%s.%d" % (path, os.getpid())
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
    from .runner import sync_folder

    sync_folder(os.path.dirname(path))


def allow_many_fds() -> None:
    """Let supervisord have four descriptors for each of a thousand programs; the runner gives the programs less."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = MAX_FDS if hard == resource.RLIM_INFINITY else min(hard, MAX_FDS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def environment() -> "dict[str, str]":
    """Return what programs inherit of our own environment: no token, connection or setting of whoever asked."""
    return {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("LC_")}
