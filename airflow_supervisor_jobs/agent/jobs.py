"""Jobs in a root: installed, removed, and what is known of their processes."""

import base64
import contextlib
import os
import time

from .configs import check_digest, forget_configs, link_log, log_path, write_config
from .daemon import RUNNING, Daemon
from .retention import prune
from .root import Root, check_name
from .runner import FORMAT, boot_id, is_runner_alive, read_json
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNNER_PATIENCE = 5.0


class Jobs:
    """The jobs of one root and the supervisord that serves them."""

    def __init__(self, root: Root) -> None:
        self.root, self.daemon = root, Daemon(root)

    # Install and remove

    def install(self, spec: "dict[str, Any]", owner: "dict[str, str] | None", if_running: str) -> "dict[str, Any]":
        """Have the job's files say what ``spec`` says; what runs is left alone, and takes it up at its next start."""
        if spec.get("format") != FORMAT:
            raise Refusal("bad_request", "this agent knows specs of format %d only" % FORMAT)
        job = check_name(spec["job"], "job")
        check_digest(spec["hash"])
        for process in spec["processes"]:
            check_name(process["process"], "process")
            check_name(process["group"], "group")
        with self.root.lock(job):
            old = self.root.read_job(job)
            self.refuse_if_busy(old, owner, if_running)
            self.root.check()
            self.root.install_scripts()
            changed = old is None or old["hash"] != spec["hash"]
            write_config(self.root, spec)
            runs = bool(old and self.alive(old))
            keep_owner = runs and old and old["owner"] != owner
            record = {
                "format": FORMAT, "job": job, "hash": spec["hash"], "released": False, "pending": runs,
                "owner": old["owner"] if old and keep_owner else owner, "installed_by": owner,
                "installed_at": time.time(), **self.root.identity(),
            }  # fmt: skip
            with self.root.lock():
                self.refuse_taken_groups(job, spec)
                self.daemon.set(spec["daemon"])
                self.daemon.include()  # refused, if at all, before the record is written
                self.root.write_job(record)
                prune(self.root, **self.daemon.retention())
                version = self.daemon.write_programs()
            try:
                self.daemon.reload(version, gone=groups_of(old))
            except Refusal:
                self.restore(job, old)
                raise
            for process in spec["processes"] if not runs else ():
                link_log(self.root.place(job, process["process"]), process)
            forget_configs(self.root, job, {spec["hash"], *([old["hash"]] if old else [])})
        return {"changed": changed, "hash": spec["hash"]}

    def restore(self, job: str, old: "dict[str, Any] | None") -> None:
        """Undo an installation that supervisord refused."""
        with self.root.lock():
            if old:
                self.root.write_job(old)
            else:
                os.unlink(self.root.job_file(job))
            self.daemon.write_programs()

    def refuse_if_busy(self, record: "dict[str, Any] | None", owner: "Any", if_running: str) -> None:
        """Refuse to touch another owner's running job where ``if_running`` is ``fail``."""
        if not record or record["owner"] == owner or if_running != "fail":
            return
        for process in self.alive(record):
            words = "it runs for another owner (%s), and if_running is fail: wait for it, or stop it there"
            raise Refusal("busy", words % describe(record["owner"]), record["job"], process)

    def refuse_taken_groups(self, job: str, spec: "dict[str, Any]") -> None:
        """Refuse a group name that another job of this root has already."""
        wanted = {process["group"] for process in spec["processes"]}
        for other in self.root.jobs():
            taken = wanted.intersection(groups_of(other))
            if other["job"] != job and taken:
                words = "job %s has a group named %s already: rename one of them"
                raise Refusal("config", words % (other["job"], sorted(taken)[0]), job)

    def remove(self, job: str, owner: "Any", purge: bool) -> "dict[str, Any]":
        """Have the job's config gone from this host; with ``purge`` its logs and records too."""
        with self.root.lock(check_name(job, "job")):
            record = self.root.read_job(job)
            if record is None:
                if purge:
                    self.root.remove_files(job, purge)
                return {"removed": False}
            self.refuse_stranger(record, owner)
            self.wait_for_runners(record)
            for process in self.alive(record):
                raise Refusal("running", "it still runs: stop it first", job, process)
            with self.root.lock():
                self.root.forget_job(job)
                version = self.daemon.write_programs()
            self.daemon.reload(version, gone=groups_of(record))
            # Last of all: supervisord refuses an include that names a log in a folder that is not there.
            self.root.remove_files(job, purge)
            return {"removed": True}

    def wait_for_runners(self, record: "dict[str, Any]") -> None:
        """Return once the runners of what has ended have gone as well: the last record comes a moment before."""

        def is_over(process: str) -> bool:
            place = self.root.place(record["job"], process)
            ended = read_json(place.exit(place.last_generation())) or {}
            return bool(ended.get("final") and ended.get("complete"))

        deadline = time.monotonic() + RUNNER_PATIENCE
        while any(map(is_over, self.alive(record))) and time.monotonic() < deadline:
            time.sleep(0.005)

    def refuse_stranger(self, record: "dict[str, Any]", owner: "Any") -> None:
        """Refuse an order from somebody whose job it no longer is; ``owner`` None stands for anybody."""
        if owner is not None and record["owner"] not in (None, owner):
            raise Refusal("not_owner", "it belongs to %s now" % describe(record["owner"]), record["job"])

    # What is known

    def processes(self, record: "dict[str, Any]", programs: "list[str] | None" = None) -> "list[dict[str, Any]]":
        """Return the specs of a job's processes, of all programs or the named ones."""
        specs = record["spec"]["processes"]
        unknown = set(programs or ()).difference(spec["program"] for spec in specs)
        if unknown:
            raise Refusal("bad_request", "it has no such program", record["job"], sorted(unknown)[0])
        return [spec for spec in specs if programs is None or spec["program"] in programs]

    def alive(self, record: "dict[str, Any]") -> "list[str]":
        """Return the names of the job's processes of which something lives."""
        specs = record["spec"]["processes"]
        names = [spec["process"] for spec in specs if spec["kind"] == "program"]
        alive = [name for name in names if not self.root.place(record["job"], name).is_free()]
        direct = [spec for spec in specs if spec["kind"] != "program"]
        infos = self.daemon.info([full_name(spec) for spec in direct])
        return alive + [
            spec["process"] for spec in direct if infos.get(full_name(spec), {}).get("statename") in RUNNING
        ]

    def renew_lease(self, job: str) -> None:
        """Note that somebody asks for the job: its runners end it when nobody does for as long as its lease."""
        path = os.path.join(self.root.job_folder(job), "lease")
        with contextlib.suppress(OSError), open(path, "a"):
            os.utime(path)

    def status_of_all(self) -> "list[dict[str, Any]]":
        """Return the status of every job, with a single question to supervisord."""
        records = self.root.jobs()
        infos = self.daemon.info([full_name(spec) for record in records for spec in record["spec"]["processes"]])
        return [self.tell(record, record["spec"]["processes"], infos) for record in records]

    def job_status(self, record: "dict[str, Any]", programs: "list[str] | None" = None) -> "dict[str, Any]":
        """Return the status of a job and of its processes."""
        specs = self.processes(record, programs)
        return self.tell(record, specs, self.daemon.info([full_name(spec) for spec in specs]))

    def tell(
        self, record: "dict[str, Any]", specs: "list[dict[str, Any]]", infos: "dict[str, dict[str, Any]]"
    ) -> "dict[str, Any]":
        """Return the status of a job and of these processes; ``infos`` is supervisord's, by full name."""
        return {
            "job": record["job"], "owner": record["owner"], "hash": record["hash"],
            "installed_at": record["installed_at"], "released": record["released"],
            "outlives": bool(record["spec"].get("outlives")), "installed_by": record["installed_by"],
            "processes": [self.status(record, spec, infos.get(full_name(spec))) for spec in specs],
        }  # fmt: skip

    def status(
        self, record: "dict[str, Any]", spec: "dict[str, Any]", info: "dict[str, Any] | None"
    ) -> "dict[str, Any]":
        """Return the status of one process; ``info`` is supervisord's, where it answers."""
        place = self.root.place(record["job"], spec["process"])
        status = {
            "job": record["job"], "program": spec["program"], "process": spec["process"], "group": spec["group"],
            "state": info["statename"] if info else None, "phase": "new", "pid": None, "runner_pid": None,
            "generation": 0, "owner": None, "started_at": None, "ended_at": None, "exit_code": None, "signal": None,
            "restarts": 0, "record": None, "positions": {},
            "stdout": log_path(place.folder, spec, "stdout"), "stderr": log_path(place.folder, spec, "stderr"),
        }  # type: dict[str, Any]  # fmt: skip
        if spec["kind"] != "program":
            return self.direct_status(status, info)
        run = read_json(place.run)
        ordered = read_json(place.next) or {}
        if ordered.get("order") == "start" and ordered["generation"] > (run or {}).get("generation", 0):
            status.update(phase="starting", generation=ordered["generation"], owner=ordered["owner"])
            return status
        if not run:
            return status
        status.update({name: run[name] for name in ("generation", "owner", "started_at", "restarts", "positions")})
        alive = is_runner_alive(run)
        # Read after the look at the runner: one that has gone by then has written its record before.
        record_file = read_json(place.exit(run["generation"]))
        if record_file:
            status.update(
                record=record_file, phase="ended" if record_file["final"] else "backoff",
                **{name: record_file[name] for name in ("exit_code", "signal", "ended_at", "positions")},
            )  # fmt: skip
        elif alive:
            stopping = (read_json(place.stop) or {}).get("generation") == run["generation"]
            status.update(phase="stopping" if stopping else run["phase"], pid=run["pid"])
        if alive:
            status.update(runner_pid=run["runner_pid"])
        elif not (record_file or {}).get("final"):
            status.update(phase="backoff" if self.awaits_restart(record, spec, run) else "lost")
        return status

    def awaits_restart(self, record: "dict[str, Any]", spec: "dict[str, Any]", run: "dict[str, Any]") -> bool:
        """Tell whether what is gone went down with the host, and is to be started again for that."""
        return spec.get("on_reboot") == "restart" and not record["released"] and run["boot_id"] != boot_id()

    def direct_status(self, status: "dict[str, Any]", info: "dict[str, Any] | None") -> "dict[str, Any]":
        """Return the status of what runs without a runner, as supervisord alone knows it."""
        if info and info["start"]:
            running = info["statename"] in RUNNING
            # Of a signal supervisord says -1, and not which it was.
            code = None if running or info["exitstatus"] < 0 else info["exitstatus"]
            status.update(
                phase=info["statename"].lower() if running else "ended", pid=info["pid"] or None,
                started_at=info["start"], ended_at=None if running else info["stop"],
                exit_code=code,
            )  # fmt: skip
        return status


def full_name(spec: "dict[str, Any]") -> str:
    """Return what supervisord calls a process."""
    return "%s:%s" % (spec["group"], spec["process"])


def groups_of(record: "dict[str, Any] | None") -> "list[str]":
    """Return the groups of a job's record."""
    return sorted({process["group"] for process in record["spec"]["processes"]}) if record else []


def describe(owner: "Any") -> str:
    """Return an owner in words."""
    return " ".join("%s=%s" % item for item in sorted(owner.items())) if owner else "nobody"


def unpack_supervisor(root: Root, version: str, data: str) -> str:
    """Keep the supervisor package that a client brought, and return its folder."""
    import io
    import zipfile

    folder = os.path.join(root.path, "lib", "supervisor-" + check_name(version, "version"))
    if not os.path.isdir(folder):
        part = "%s.%d" % (folder, os.getpid())
        zipfile.ZipFile(io.BytesIO(base64.b64decode(data))).extractall(part)
        with contextlib.suppress(OSError):
            os.rename(part, folder)
    return folder
