"""The versions of a job's config: written beside each other and never changed, so that the one in use is whole."""

import contextlib
import glob
import os
import re
import resource
import shutil

from .root import Root
from .runner import Place, is_runner_alive, read_json, sync_folder, write_json
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STREAMS = ("stdout", "stderr")
DIGEST = re.compile(r"[0-9a-f]{16,64}\Z")


def check_digest(digest: "Any") -> None:
    """Refuse what is no hash: it names a folder."""
    if not isinstance(digest, str) or not DIGEST.match(digest):
        raise Refusal("bad_request", "%r is no hash" % (digest,))


def write_config(root: Root, spec: "dict[str, Any]") -> None:
    """Write a version of a job's config, which does not count before job.json names it.

    Environments are files of their own: a runner reads its spec once, and its environment at each start.
    """
    job, folder = spec["job"], root.config(spec["job"], spec["hash"])
    for process in spec["processes"]:
        place = root.place(job, process["process"])
        os.makedirs(place.exits, mode=0o700, exist_ok=True)
        check_logs(job, place, process)
    if os.path.isdir(folder):
        return
    part = "%s.%d" % (folder, os.getpid())
    for name in ("process", "env"):
        os.makedirs(os.path.join(part, name), mode=0o700, exist_ok=True)
    slim = dict(spec, processes=[dict(process, environment=None) for process in spec["processes"]])
    write_json(os.path.join(part, "spec.json"), slim)
    for process, own in zip(spec["processes"], slim["processes"]):
        name, place = process["process"] + ".json", root.place(job, process["process"])
        write_json(os.path.join(part, "process", name), dict(own, **for_runner(place, spec, process)))
        write_json(os.path.join(part, "env", name), process["environment"])
    os.rename(part, folder)
    sync_folder(os.path.dirname(folder))


def for_runner(place: Place, spec: "dict[str, Any]", process: "dict[str, Any]") -> "dict[str, Any]":
    """Return what a runner is told besides its part of the spec."""
    more = {"hash": spec["hash"], "lease": spec.get("lease"), "max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    paths = {stream: log_path(place.folder, process, stream) for stream in STREAMS}
    return dict(more, **{stream: dict(process[stream], path=path) for stream, path in paths.items() if path})


def forget_configs(root: Root, job: str, kept: "set[str]") -> None:
    """Remove the versions of a job's config by which nothing runs any more."""
    folder = os.path.join(root.job_folder(job), "config")
    runs = [read_json(path) or {} for path in glob.glob(os.path.join(root.job_folder(job), "*", "run.json"))]
    in_use = [run["hash"] for run in runs if is_runner_alive(run)]
    names = {os.path.basename(root.config(job, digest)) for digest in kept.union(in_use)}
    for name in set(os.listdir(folder)).difference(names):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


# Logs


def log_path(folder: str, process: "dict[str, Any]", stream: str) -> "str | None":
    """Return where a process's stream is written, None where it is not."""
    if stream == "stderr" and process["redirect_stderr"]:
        return None
    options = process[stream]
    return os.path.expanduser(options["path"] or os.path.join(folder, stream + ".log")) if options else None


def check_logs(job: str, place: Place, process: "dict[str, Any]") -> None:
    """Refuse a log in a folder that is not there: supervisord would then refuse all of its config."""
    for stream in STREAMS:
        path = log_path(place.folder, process, stream)
        if path and not os.path.isdir(os.path.dirname(path)):
            words = "there is no folder for its log %s on this host: make it, or change the logfile option"
            raise Refusal("config", words % path, job, process["program"])


def link_log(place: Place, process: "dict[str, Any]") -> None:
    """Have supervisord find a log that is written elsewhere at the one path that its config names.

    Only while the process does not run: its runner writes by the path that it was started with.
    """
    for stream in STREAMS:
        path, own = log_path(place.folder, process, stream), os.path.join(place.folder, stream + ".log")
        linked = os.readlink(own) if os.path.islink(own) else None
        if path is None or path == (linked or own):
            continue
        if linked:
            os.unlink(own)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.rename(own, own + ".old")
        if path != own:
            os.symlink(path, own)
