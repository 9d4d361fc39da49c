"""Orders to processes: start, stop, restart, each under the job's lock, each safe to repeat."""

import contextlib
import http.client
import os
import threading
import time
import xmlrpc.client

from .configs import link_log
from .daemon import ALREADY_STARTED, BAD_NAME, NOT_RUNNING, RUNNING, SPAWN_ERROR
from .jobs import Jobs, full_name
from .root import check_name
from .runner import is_runner_alive, read_json, send, write_json
from .wire import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

START_PATIENCE = 60.0
ATTACH_PATIENCE = 5.0
STOP_MARGIN = 20.0
STEP = 0.005
ASK_AGAIN = 0.5
SIGTERM, SIGKILL = 15, 9


class Orders:
    """Starts and stops the processes of one root's jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.root, self.daemon = jobs, jobs.root, jobs.daemon

    # supervisord itself

    def start_supervisord(self) -> "dict[str, Any]":
        """Have a supervisord that answers, and have it answer for what survived its predecessor."""
        with self.root.lock():
            self.root.install_scripts()
            pid, started = self.daemon.start()
            version = self.daemon.write_programs()
        self.daemon.reload(version)
        if started:
            self.resume_all()
        return {"pid": pid, "started": started}

    def resume_all(self) -> None:
        """Resume every job at once; one whose lock is taken is being seen to by somebody else."""
        jobs = [record["job"] for record in self.root.jobs() if any(self.unattended(record))]
        threads = [threading.Thread(target=self.resume, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + ATTACH_PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def unattended(self, record: "dict[str, Any]") -> "Iterator[tuple[dict[str, Any], Any, dict[str, Any]]]":
        """Yield (spec, place, run) of what has outlived its supervisord, or is to outlive a reboot."""
        for spec in record["spec"]["processes"]:
            place = self.root.place(record["job"], spec["process"])
            run = read_json(place.run)
            if run and (is_runner_alive(run) or self.jobs.status(record, spec, None)["phase"] == "backoff"):
                yield spec, place, run

    def resume(self, job: str) -> None:
        """Have supervisord's runners stand in for what outlived the last one, and start again what a reboot ended."""
        with contextlib.suppress(Refusal), self.root.lock(job):
            record = self.root.job(job)
            unattended = list(self.unattended(record))
            for spec, place, run in unattended:
                info = self.daemon.info([full_name(spec)]).get(full_name(spec), {})
                if info.get("statename") not in RUNNING:
                    with contextlib.suppress(Refusal):  # one process's trouble is not the others'
                        self.resume_process(record, spec, place, run)
            self.wait_until_attached([place for _, place, _ in unattended])

    def resume_process(
        self, record: "dict[str, Any]", spec: "dict[str, Any]", place: "Any", run: "dict[str, Any]"
    ) -> None:
        """Resume one process, by an order that is taken back where supervisord does not carry it out."""
        before = read_json(place.next)
        if not is_runner_alive(run):
            # First the order: so nobody sees a moment at which the process is just lost.
            self.order(place, "start", place.last_generation() + 1, run["owner"], "agent, after a reboot")
            place.end_leftovers()
        elif spec["if_supervisord_dies"] == "stop":
            send(run["runner_pid"], SIGTERM)
            return
        else:
            self.order(place, "attach", run["generation"], run["owner"], "agent")
        try:
            self.call_start(record, spec)
        except Refusal:
            write_json(place.next, before)
            raise

    def wait_until_attached(self, attached: "list[Any]") -> None:
        """Return once those runners stand in, or after a while.

        One that is stopped before it has read its order leaves the order to an operator's next start, which then
        starts nothing.
        """
        deadline = time.monotonic() + ATTACH_PATIENCE
        for place in attached:
            while (read_json(place.next) or {}).get("order") == "attach" and time.monotonic() < deadline:
                time.sleep(STEP)

    def order(self, place: "Any", order: str, generation: int, owner: "Any", by: str) -> None:
        """Leave an order for the runner that supervisord is about to start; under the job's lock."""
        what = {"format": 1, "generation": generation, "order": order, "owner": owner, "by": by, "at": time.time()}
        write_json(place.next, what)

    def stop_supervisord(self, job: str, owner: "Any") -> "dict[str, Any]":
        """Have the job no longer need supervisord, and stop it when no other does."""
        with self.root.lock(check_name(job, "job")):
            record = self.root.read_job(job)
            if record:
                self.jobs.refuse_stranger(record, owner)
                self.root.write_job(dict(record, released=True))
            with self.root.lock():
                held = [other["job"] for other in self.root.jobs() if not other["released"] or self.jobs.alive(other)]
                return {"stopped": not held and self.daemon.stop(), "held_by": held}

    # Start

    def start(
        self, job: str, owner: "Any", programs: "list[str] | None", if_running: str, by: str, again: bool = False
    ) -> "dict[str, Any]":
        """Have the job's programs run for this owner, by the rules of docs/reference/protocol.md.

        :param again: a new generation even of what runs.
        """
        with self.root.lock(check_name(job, "job")):
            record = self.root.job(job)
            specs = self.jobs.processes(record, programs)
            self.jobs.refuse_if_busy(record, owner, if_running)
            theirs = record["owner"] not in (None, owner)
            if again or (theirs and if_running == "restart"):
                self.stop_each(record, specs, by, "restart")
            self.take_over(record, specs)
            self.jobs.renew_lease(job)
            actions = {spec["process"]: self.start_one(record, spec, owner, by, again or theirs) for spec in specs}
            if record["owner"] != owner or record["released"] or record.get("pending"):
                adopted = [name for name, action in actions.items() if action == "adopted"]
                generations = {name: self.root.place(job, name).last_generation() for name in adopted}
                record = dict(record, owner=owner, released=False, adopted=generations, pending=bool(adopted))
                self.root.write_job(record)
            for spec in specs:
                if actions[spec["process"]] == "started":
                    self.wait_until_started(record, spec)
            status = self.jobs.job_status(record, programs)
            return {"processes": [dict(one, action=actions[one["process"]]) for one in status["processes"]]}

    def start_one(self, record: "dict[str, Any]", spec: "dict[str, Any]", owner: "Any", by: str, anew: bool) -> str:
        """Order one process to start unless it runs, or its end is still to be reported; return what was done.

        :param anew: an end that nobody has reported yet is no reason to wait.
        """
        place = self.root.place(record["job"], spec["process"])
        if spec["kind"] != "program":
            self.call_start(record, spec)
            return "started"
        run = read_json(place.run) or {}
        if is_runner_alive(run):
            ended = read_json(place.exit(run["generation"])) or {}
            if not ended.get("final"):
                return "adopted"
        last = place.last_generation()
        exit_record = read_json(place.exit(last)) or {}
        if last and not exit_record:
            place.end_leftovers()
            exit_record = read_json(place.exit(last)) or {}
        ordered_by = (exit_record.get("stop") or {}).get("owner")
        mine = exit_record.get("owner") == owner or record.get("adopted", {}).get(spec["process"]) == last
        # Who ordered an end knows of it.
        if not anew and exit_record and mine and ordered_by != owner and last not in self.reported(place):
            return "ended"
        ordered = (read_json(place.next) or {}).get("generation", 0)
        link_log(place, spec)
        self.order(place, "start", max(last, ordered) + 1, owner, by)
        self.call_start(record, spec)
        return "started"

    def reported(self, place: "Any") -> "set[int]":
        """Return the generations whose end some consumer has reported."""
        folder = os.path.join(place.folder, "cursor")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return {(read_json(os.path.join(folder, name)) or {}).get("reported", 0) for name in names}

    def call_start(self, record: "dict[str, Any]", spec: "dict[str, Any]") -> None:
        """Have supervisord start a process, which it may not do before it has noticed the end of the last one."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            try:
                self.daemon.rpc().supervisor.startProcess(full_name(spec), False)
                return
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == SPAWN_ERROR:
                    # Also said of a process that has ended badly by the time of the answer; its records know more.
                    return
                if fault.faultCode == ALREADY_STARTED and spec["kind"] != "program":
                    return
                if fault.faultCode != ALREADY_STARTED or time.monotonic() > deadline:
                    raise self.refusal(record, spec, fault.faultString) from None
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise self.refusal(record, spec, "it does not answer (%s): start it first" % error) from None
            time.sleep(STEP)

    def take_over(self, record: "dict[str, Any]", specs: "list[dict[str, Any]]") -> None:
        """Have supervisord know what was installed while the job ran, which it could not take over then.

        :raises Refusal: ``config``: it still runs, and a new program has to wait.
        """
        names = [full_name(spec) for spec in specs]
        if not record.get("pending") and len(self.daemon.info(names)) == len(names):
            return
        with self.root.lock():
            version = self.daemon.write_programs()
        self.daemon.reload(version, again=True)
        known = self.daemon.info(names)
        for spec in specs:
            if known and full_name(spec) not in known:
                words = "supervisord takes no new program into the group %s while the group runs: restart the whole job"
                raise Refusal("config", words % spec["group"], record["job"], spec["process"])

    def refusal(self, record: "dict[str, Any]", spec: "dict[str, Any]", words: str) -> Refusal:
        """Return supervisord's refusal about a process."""
        return Refusal("supervisord", "supervisord: %s" % words, record["job"], spec["process"])

    def wait_until_started(self, record: "dict[str, Any]", spec: "dict[str, Any]") -> None:
        """Return once the runner has recorded the start that was ordered.

        :raises Refusal: supervisord could not even execute the runner.
        """
        if spec["kind"] != "program":
            return
        place = self.root.place(record["job"], spec["process"])
        wanted = read_json(place.next)["generation"]
        deadline = time.monotonic() + START_PATIENCE
        look = time.monotonic() + 1.0
        while True:
            run = read_json(place.run) or {}
            if run.get("generation", 0) >= wanted and (run["phase"] != "starting" or read_json(place.exit(wanted))):
                return
            now = time.monotonic()
            if now > look:
                look = now + 1.0
                info = self.daemon.info([full_name(spec)]).get(full_name(spec), {})
                if now > deadline or info.get("statename") in ("BACKOFF", "EXITED", "FATAL"):
                    words = "its runner does not start: %(statename)s %(spawnerr)s" % info
                    raise self.refusal(record, spec, words)
            time.sleep(STEP)

    # Stop

    def stop(self, job: str, owner: "Any", programs: "list[str] | None", by: str, reason: str) -> "dict[str, Any]":
        """Have nothing of the job's programs run: their whole trees are gone when this returns."""
        with self.root.lock(check_name(job, "job")):
            record = self.root.read_job(job)
            if record is None:
                return {"processes": []}
            self.jobs.refuse_stranger(record, owner)
            specs = self.jobs.processes(record, programs)
            results = self.stop_each(record, specs, by, reason, owner)
            status = self.jobs.job_status(record, programs)
            return {"processes": [dict(one, **results[one["process"]]) for one in status["processes"]]}

    def stop_each(
        self, record: "dict[str, Any]", specs: "list[dict[str, Any]]", by: str, reason: str, owner: "Any" = None
    ) -> "dict[str, dict[str, Any]]":
        """Order all stops at once, then see each to its end; return what was done by process."""
        asked = [spec for spec in specs if self.ask_to_stop(record, spec, by, reason, owner)]
        results = {}
        for spec in specs:
            ended, survivors = self.see_ended(record, spec)
            results[spec["process"]] = {"action": "not_running", "ended": [], "survivors": survivors}
            if spec in asked:
                results[spec["process"]].update(action="stopped", ended=ended)
        return results

    def ask_to_stop(self, record: "dict[str, Any]", spec: "dict[str, Any]", by: str, reason: str, owner: "Any") -> bool:
        """Record the intent and have the process stopped; false where nothing runs."""
        place = self.root.place(record["job"], spec["process"])
        if spec["kind"] == "program":
            if place.is_free():
                if place.last_generation() and not read_json(place.exit(place.last_generation())):
                    place.end_leftovers()
                return False
            generation = place.last_generation()
            ended = read_json(place.exit(generation)) or {}
            if ended.get("final") and ended.get("complete"):
                return False
            intent = {"generation": generation, "by": by, "reason": reason, "owner": owner, "at": time.time()}
            write_json(place.stop, intent)
        try:
            self.daemon.rpc().supervisor.stopProcess(full_name(spec), False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (NOT_RUNNING, BAD_NAME):
                raise self.refusal(record, spec, fault.faultString) from None
            if spec["kind"] != "program":
                return False
            self.ask_runner(place)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            self.ask_runner(place)
        return True

    def ask_runner(self, place: "Any") -> None:
        """Signal the runner itself, where no supervisord answers for it."""
        run = read_json(place.run) or {}
        if is_runner_alive(run):
            send(run["runner_pid"], SIGTERM)

    def see_ended(self, record: "dict[str, Any]", spec: "dict[str, Any]") -> "tuple[list[int], list[int]]":
        """Wait until the whole tree is gone, ending it ourselves where its runner cannot; return (ended, survivors)."""
        deadline = time.monotonic() + spec["stopwaitsecs"] + STOP_MARGIN
        place = self.root.place(record["job"], spec["process"])
        if spec["kind"] != "program":
            while time.monotonic() < deadline and self.jobs.alive(dict(record, spec={"processes": [spec]})):
                time.sleep(STEP)
            return [], []
        ask = time.monotonic() + ASK_AGAIN
        while not place.is_free():
            run = read_json(place.run) or {}
            if time.monotonic() > ask:
                # A signal that supervisord sends between its fork and its exec of a runner is lost.
                ask = time.monotonic() + ASK_AGAIN
                self.ask_runner(place)
            if not is_runner_alive(run):
                return place.end_leftovers()
            if time.monotonic() > deadline:
                return self.end_with_runner(place, run)
            time.sleep(STEP)
        self.wait_for_supervisord(spec)
        last = read_json(place.exit(place.last_generation())) or {}
        return last.get("ended", []), last.get("survivors", [])

    def end_with_runner(self, place: "Any", run: "dict[str, Any]") -> "tuple[list[int], list[int]]":
        """Kill a runner that does not do its work (stopped, say), and its tree."""
        send(run["runner_pid"], SIGKILL)
        while is_runner_alive(run):
            time.sleep(STEP)
        return place.end_leftovers(grace=0.0)  # type: ignore[no-any-return]

    def wait_for_supervisord(self, spec: "dict[str, Any]") -> None:
        """Return once supervisord shows the end as well, so that who looks next sees one truth."""
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            info = self.daemon.info([full_name(spec)]).get(full_name(spec))
            if not info or info["statename"] not in RUNNING:
                return
            time.sleep(STEP)
