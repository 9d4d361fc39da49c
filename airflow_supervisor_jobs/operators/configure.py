"""The first step: what the job is in this run, pinned; then the host is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.log import mask_secret
from jinja2 import UndefinedError
from typing_extensions import override

from airflow_supervisor_jobs.config import AirflowOptions, IfRunning, Job, ReferenceDate, render_spec, render_templates
from airflow_supervisor_jobs.config.environment import Secret
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.core.schedule import endtime_at
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.operators.base import SupervisorOperator, recall, remember
from airflow_supervisor_jobs.operators.forced import forced_options
from airflow_supervisor_jobs.operators.owner import deployment_id, owner_of
from airflow_supervisor_jobs.operators.programs import inherited
from airflow_supervisor_jobs.triggers.masks import secret_places
from airflow_supervisor_jobs.triggers.pin import Pin, pinned_cleanup, this_machine
from airflow_supervisor_jobs.triggers.reach import ask

if TYPE_CHECKING:
    from airflow.sdk import Context

PIN_KEY = "pin"

#: The parts of a host that only its supervisord.conf needs: they may hold passwords, so no pin has them.
_ONLY_FOR_SETUP = {
    "unix_http_server", "inet_http_server", "rpc_interfaces", "include", "supervisorctl", "log_retention",
    "log_retention_size",
}  # fmt: skip


class ConfigureSupervisordOperator(SupervisorOperator):
    """The job is resolved, pinned for this run, and installed on its host.

    Jinja is rendered in commands, environment values, directories and the host, and nowhere else. What was
    resolved is kept in the task's state before the host is touched: it survives a clear, and a YAML file that
    is edited in mid-run changes nothing of this run. The other tasks get it by XCom, without any secret.

    :param job: the job as it was declared.
    :param broken: why it cannot be read any more: then only what an earlier try has pinned is gone by.
    """

    def __init__(self, *, job: Job, broken: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.broken = broken

    @override
    def perform(self, context: Context) -> dict[str, Any]:
        """Return the pin, for XCom."""
        before = recall(context, PIN_KEY)
        if self.broken is not None:
            if before is not None and (kept := self._kept(Pin.from_dict(before))):
                return kept.to_dict()
            raise ConfigError(self.broken, job=self.job.name)
        job = self._rendered(context)
        spec = render_spec(job, environ=os.environ)
        mask_environment(job, spec)
        if before is not None and before["hash"] != spec["hash"] and (kept := self._kept(Pin.from_dict(before))):
            return kept.to_dict()
        pin = self._resolve(job, spec, context, before)
        remember(context, PIN_KEY, pin.to_dict())
        self._install(pin, spec)
        return pin.to_dict()

    def _rendered(self, context: Context) -> Job:
        environment = self.get_template_env()
        try:
            job = render_templates(self.job, lambda text: str(self.render_template(text, context, environment)))
        except UndefinedError as error:
            raise ConfigError(_undefined(error, context), host=self.job.host.name, job=self.job.name) from error
        return job.model_copy(update={"airflow": self._forced(job, context)})

    def _forced(self, job: Job, context: Context) -> AirflowOptions:
        try:
            return forced_options(job.airflow, context["params"])
        except ConfigError as error:
            raise ConfigError(error.message, host=job.host.name, job=job.name) from error

    def _kept(self, pin: Pin) -> Pin | None:
        """Return the pin of an earlier try if the host still has that job."""
        jobs = ask(pin.resolved_host(), "status", job=None)["jobs"]
        ours = [job for job in jobs if job["job"] == pin.job and job["owner"] == dict(pin.owner)]
        if not any(job["hash"] == pin.hash for job in ours):
            return None
        self.log.warning("The job's YAML has changed since this run began: the run goes on with what it began with")
        return pin

    def _resolve(self, job: Job, spec: Mapping[str, Any], context: Context, before: Mapping[str, Any] | None) -> Pin:
        options = job.airflow
        reference = reference_moment(context, options.reference_date)
        endtime = None
        if options.endtime is not None:
            endtime = endtime_at(options.endtime, reference=reference, timezone=context["dag"].timezone)
        owner = before["owner"] if before else owner_of(context, deployment=deployment_id())
        return Pin(
            job=job.name,
            hash=spec["hash"],
            host=reachable_part(job),
            owner=owner,
            processes=tuple(process["process"] for process in spec["processes"]),
            policy=WatchPolicy.for_job(job, endtime=endtime, started_at=inherited(context).get("started_at")).to_dict(),
            if_running=effective_if_running(options, retriggered=bool(inherited(context))).value,
            maxretrigger=options.maxretrigger,
            stop_on_exit=options.stop_on_exit,
            cleanup=pinned_cleanup(options.cleanup),
            reference_date=reference.isoformat(),
            machine=this_machine() if job.host.is_local else None,
            secrets=tuple(secret_places(self.job)),
        )

    def _install(self, pin: Pin, spec: Mapping[str, Any]) -> None:
        host = pin.resolved_host()
        answer = ask(host, "install", spec=spec, owner=dict(pin.owner), if_running=pin.if_running)
        changed = "installed" if answer["changed"] else "was installed already"
        self.log.info("%s %s on %s, root %s (%s)", pin.job, changed, host.name, host.root, pin.hash[:12])
        self.log.info("processes: %s", ", ".join(pin.processes))


def reachable_part(job: Job) -> dict[str, Any]:
    """Return what it takes to reach the job's host and its supervisord: JSON, no secret."""
    host = job.host.model_dump(mode="json", exclude=_ONLY_FOR_SETUP, exclude_defaults=True)
    daemon = job.host.supervisord.model_dump(mode="json", include={"command", "attach"}, exclude_none=True)
    return {**host, "name": job.host.name, "supervisord": daemon}


def mask_environment(job: Job, spec: Mapping[str, Any]) -> None:
    """Secrets among the programs' environment show as ``***`` in this task's log."""
    programs = {**job.programs, **job.fcgi_programs, **job.event_listeners}
    for process in spec["processes"]:
        declared = programs[process["program"]].environment
        for name, value in process["environment"].items():
            mask_secret(value, None if isinstance(declared.get(name), Secret) else name)


def effective_if_running(options: AirflowOptions, *, retriggered: bool) -> IfRunning:
    """Return what a run does about a copy that another one has started.

    :param retriggered: a failed run has triggered this one.
    """
    anew = options.restart_on_retrigger if retriggered else options.restart_on_initial
    return IfRunning.RESTART if anew else options.if_running


def reference_moment(context: Context, which: ReferenceDate) -> datetime:
    """Return the moment after which ``endtime`` is looked for: a run made by hand or by an asset may have no date."""
    run = context["dag_run"]
    if handed := inherited(context).get("reference_date"):
        return datetime.fromisoformat(str(handed))
    wanted: datetime | None = getattr(run, which.value, None)
    return wanted or run.run_after


def _undefined(error: UndefinedError, context: Context) -> str:
    dateless = "" if context["dag_run"].logical_date else ". This run has no logical date, and so nothing made of one"
    return f"Jinja: {error}{dateless}: write {{{{ run_id }}}}, or {{{{ dag_run.run_after }}}}"
