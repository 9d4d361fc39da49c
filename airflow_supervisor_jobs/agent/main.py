"""The agent: requests in, answers and events out, until its client goes away or falls silent."""

import contextlib
import getpass
import json
import os
import socket
import sys
import threading
import time
import traceback

from . import logs
from .configs import STREAMS, log_path
from .daemon import Daemon
from .jobs import Jobs, unpack_supervisor
from .orders import Orders
from .relay import Relays
from .root import Root, check_name
from .strays import strays
from .watch import Watcher
from .watched import acknowledge
from .wire import Outbox, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable

LONGEST_REQUEST = 32 * 1024 * 1024
BEAT = 5.0
SILENCE = 60.0
TOUCH = 3600.0


class Agent:
    """Answers one client about one root."""

    def __init__(self, root: Root, outbox: Outbox, sha256: str) -> None:
        self.root, self.outbox, self.sha256 = root, outbox, sha256
        self.jobs = Jobs(root)
        self.orders = Orders(self.jobs)
        self.watcher = Watcher(self.jobs, self.orders, outbox)
        self.relays = Relays(self.jobs.daemon, outbox)
        self.heard = time.monotonic()
        self.verbs = {
            "hello": self.hello, "provide": self.provide, "install": self.install, "remove": self.remove,
            "start_supervisord": self.start_supervisord, "stop_supervisord": self.stop_supervisord,
            "start": self.start, "restart": self.restart, "stop": self.stop, "status": self.status,
            "logs": self.logs, "watch": self.watch, "ack": self.ack, "strays": self.strays,
        }  # type: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]  # fmt: skip
        # These return at once, and their order matters.
        self.quick_verbs = {
            "ping": lambda params: {"now": time.time()}, "credit": self.credit, "received": self.received,
            "unwatch": self.unwatch, "relay": self.relays.write,
        }  # type: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]  # fmt: skip

    def serve(self, requests: "BinaryIO") -> None:
        """Answer requests until there are no more."""
        threading.Thread(target=self.beat, daemon=True).start()
        while True:
            line = requests.readline(LONGEST_REQUEST)
            if not line.endswith(b"\n"):
                return
            self.heard = time.monotonic()
            try:
                request = json.loads(line.decode())
                number, verb, params = request["id"], request["verb"], request.get("params") or {}
            except (ValueError, KeyError, TypeError):
                self.outbox.put({"id": None, "error": Refusal("bad_request", "not a request").to_json()})
                continue
            if verb in self.quick_verbs:
                self.answer(number, self.quick_verbs[verb], params)
            elif verb in self.verbs:
                threading.Thread(target=self.answer, args=(number, self.verbs[verb], params), daemon=True).start()
            else:
                self.answer(number, self.refuse_verb, {"verb": verb})

    def beat(self) -> None:
        """Show the client that we live; end when it does not."""
        touched = time.monotonic()
        while time.monotonic() - self.heard < SILENCE:
            time.sleep(BEAT)
            self.outbox.put({"event": "beat"})
            if time.monotonic() - touched > TOUCH:
                touched = time.monotonic()
                with contextlib.suppress(OSError):
                    os.utime(sys.path[0])  # our own zip: in use, so not to be removed
        os._exit(0)

    def answer(self, number: int, verb: "Callable[[dict[str, Any]], dict[str, Any]]", params: "dict[str, Any]") -> None:
        """Carry out one request and send its answer."""
        try:
            self.outbox.put({"id": number, "result": verb(params)})
            return
        except Refusal as error:
            refusal = error
        except OSError as error:
            where = " %s" % error.filename if error.filename else ""
            refusal = Refusal("host", "%s%s" % (error.strerror or error, where), params.get("job"))
        except (KeyError, TypeError, ValueError) as error:
            refusal = Refusal("bad_request", "%s: %s (%s)" % (type(error).__name__, error, last_lines()))
        except Exception:
            refusal = Refusal("internal", last_lines(), params.get("job"))
        self.outbox.put({"id": number, "error": refusal.to_json()})

    def refuse_verb(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Refuse what is no verb."""
        raise Refusal("bad_request", "there is no verb %r" % params["verb"])

    # Verbs: docs/reference/protocol.md says what each takes and gives

    def hello(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Tell who and where we are."""
        daemon = Daemon(self.root)
        pid = daemon.pid()
        source, command = ("attached", []) if daemon.attached() else daemon.find(params.get("supervisord"))
        return {
            "sha256": self.sha256, "python": sys.version.split()[0], "hostname": socket.gethostname(),
            "user": user_name(), "uid": os.getuid(), "root": self.root.path, "socket": daemon.access()[0],
            "supervisord": {"source": source, "command": command, "pid": pid}, **self.root.identity(),
        }  # fmt: skip

    def provide(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Keep the supervisor package that the client brought."""
        return {"path": unpack_supervisor(self.root, params["version"], params["data"])}

    def install(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Install a job."""
        return self.jobs.install(params["spec"], params.get("owner"), params.get("if_running") or "adopt")

    def remove(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Remove a job."""
        return self.jobs.remove(params["job"], params.get("owner"), bool(params.get("purge")))

    def start_supervisord(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Start supervisord."""
        return self.orders.start_supervisord()

    def stop_supervisord(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Stop supervisord where no job needs it."""
        return self.orders.stop_supervisord(params["job"], params.get("owner"))

    def start(self, params: "dict[str, Any]", again: bool = False) -> "dict[str, Any]":
        """Start programs."""
        return self.orders.start(
            params["job"], params.get("owner"), params.get("programs"), params.get("if_running") or "adopt",
            params.get("by") or "a client", again,
        )  # fmt: skip

    def restart(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Restart programs."""
        return self.start(params, again=True)

    def stop(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Stop programs."""
        by, reason = params.get("by") or "a client", params.get("reason") or "stopped"
        return self.orders.stop(params["job"], params.get("owner"), params.get("programs"), by, reason)

    def status(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Tell the status of one job or of all."""
        job = params.get("job")
        pid = self.jobs.daemon.pid()
        return {
            "supervisord": {"pid": pid, "state": "RUNNING" if pid else None},
            "jobs": [self.jobs.job_status(self.root.job(job))] if job else self.jobs.status_of_all(),
        }

    def logs(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Read a log; also of a job whose config was removed, as long as its files are there."""
        place = self.root.place(check_name(params["job"], "job"), check_name(params["process"], "process"))
        stream = params.get("stream") or "stdout"
        if stream not in STREAMS:
            raise Refusal("bad_request", "there is no stream %r" % stream)
        record = self.root.read_job(params["job"])
        path = os.path.join(place.folder, stream + ".log")  # type: str | None
        for spec in record["spec"]["processes"] if record else []:
            if spec["process"] == params["process"]:
                path = log_path(place.folder, spec, stream)
        if path is None:
            return {"chunks": [], "next": 0, "end": 0, "lost": 0}
        reader = logs.StreamReader(path, os.path.join(place.folder, stream + ".index"))
        return logs.answer(reader, dict(params, stream=stream))

    def watch(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Begin a watch."""
        record = self.root.job(check_name(params.get("job"), "job"))
        # Asked here: a supervisord that does not answer is not to hold up the watcher's thread.
        status = self.jobs.job_status(record, params.get("programs"))
        return self.watcher.call(lambda: self.watcher.subscribe(params, record, status))  # type: ignore[no-any-return]

    def unwatch(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """End a watch."""
        self.watcher.post(lambda: self.watcher.unsubscribe(params["sub"]))
        return {}

    def credit(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Allow a watch more bytes."""
        self.watcher.post(lambda: self.watcher.add_credit(params["sub"], params["bytes"]))
        return {}

    def received(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Note how much of the logs has arrived."""
        self.outbox.receive(params["bytes"])
        return {}

    def strays(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Find, and end, the processes that no runner answers for."""
        return strays(self.root, bool(params.get("end")), float(params.get("grace", 2.0)))

    def ack(self, params: "dict[str, Any]") -> "dict[str, Any]":
        """Keep a consumer's cursor."""
        acknowledge(self.jobs, params)
        return {}


def user_name() -> str:
    """Return the name that this host has for us."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def last_lines() -> str:
    """Return the end of the traceback of what is being handled, in one line."""
    return " | ".join(line.strip() for line in traceback.format_exc().strip().split("\n")[-3:])


def boot(root: str) -> int:
    """Bring supervisord back, and what is to outlive a reboot; return the exit status for whoever starts a host."""
    from .loader import claim_root

    try:
        if claim_root(root) != root:
            print("%s belongs to another machine: nothing to do" % root)
            return 0
        orders = Orders(Jobs(Root(root)))
        if not any(not record["released"] for record in orders.root.jobs()):
            print("No job of %s needs supervisord" % root)
            return 0
        print("supervisord: pid %(pid)d" % orders.start_supervisord())
        orders.resume_all()
    except (OSError, Refusal) as error:
        sys.stderr.write("%s\n" % error)
        return 1
    return 0


def main(root: str, sha256: str) -> None:
    """Serve the client at standard input and output; nothing else may write there."""
    wire = os.dup(1)
    os.dup2(2, 1)
    Agent(Root(root), Outbox(wire), sha256).serve(sys.stdin.buffer)
    os._exit(0)
