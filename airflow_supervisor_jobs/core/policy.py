"""The rules of one watch: what counts as success, and how long it may last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_supervisor_jobs.core.verdict import Outcome

if TYPE_CHECKING:
    from airflow_supervisor_jobs.config import Job


class Forward(str, Enum):
    """Which lines a watch tells: all, the last ones at the end, or none."""

    ALL = "all"
    TAIL = "tail"
    NONE = "none"


@dataclass(frozen=True)
class ProgramPolicy:
    """What one program's end means.

    :param exitcodes: the codes that mean success.
    :param essential: whether the program decides about the job. Where none is essential, all are.
    """

    exitcodes: tuple[int, ...] = (0,)
    essential: bool = True


@dataclass(frozen=True)
class WatchPolicy:
    """What a watch needs to judge a job: plain data, for it is kept in Airflow's database with the trigger.

    :param host: how people call the host, for messages.
    :param programs: by the program's name; one that is not listed is essential and succeeds with 0.
    :param skip_on_exit_code: codes that mean ``skipped``, even if they are among ``exitcodes``.
    :param runtime: seconds after the programs' start at which the job is ``expired``.
    :param endtime: the moment, in seconds since the epoch, at which it is.
    :param check_timeout: seconds of watching after which it is ``timed_out``.
    :param unreachable_timeout: seconds for which the host may be out of sight; None is without limit.
    :param refused_timeout: seconds for which a host that is there may let nobody in: that mends only when somebody
        changes something, and the end of the watch is what tells them.
    :param on_expire: how the watch of an expired job ends.
    :param forward_logs: which lines of the programs are told.
    :param max_log_rate: bytes of them a second, on average; None is without limit.
    :param watched_from: when the watching began (epoch), where that was before this process's first look.
    :param started_at: when the programs were started (epoch, the host's clock), where that was before
        the generation that runs now.
    :param unreachable_from: since when (epoch) the host has been out of sight, if it was when this watch began.
    :param refused_from: since when (epoch) it has let nobody in, likewise.
    """

    host: str
    job: str
    programs: Mapping[str, ProgramPolicy] = field(default_factory=dict)
    skip_on_exit_code: tuple[int, ...] = ()
    runtime: float | None = None
    endtime: float | None = None
    check_timeout: float | None = None
    unreachable_timeout: float | None = None
    refused_timeout: float = 3600.0
    on_expire: Outcome = Outcome.SUCCESS
    forward_logs: Forward = Forward.ALL
    max_log_rate: float | None = None
    watched_from: float | None = None
    started_at: float | None = None
    unreachable_from: float | None = None
    refused_from: float | None = None

    @classmethod
    def for_job(cls, job: Job, *, endtime: float | None = None, **changes: Any) -> WatchPolicy:
        """Return the policy that ``job`` declares.

        :param endtime: the job's ``endtime`` as a moment (:func:`~airflow_supervisor_jobs.core.schedule.endtime_at`).
        :param changes: fields of the policy that replace the job's own.
        """
        options = job.airflow
        policy = cls(
            host=job.host.name,
            job=job.name,
            programs=_programs(job),
            skip_on_exit_code=tuple(options.skip_on_exit_code),
            runtime=options.runtime,
            endtime=endtime,
            check_timeout=options.check_timeout,
            unreachable_timeout=options.unreachable_timeout,
            on_expire=Outcome(_plain(options.on_expire)),
            forward_logs=Forward(_plain(options.forward_logs)),
            max_log_rate=options.max_log_rate,
        )
        return replace(policy, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        data = asdict(self)
        data["programs"] = {
            name: {"exitcodes": list(program.exitcodes), "essential": program.essential}
            for name, program in self.programs.items()
        }
        words = {"on_expire": self.on_expire.value, "forward_logs": self.forward_logs.value}
        return {**data, **words, "skip_on_exit_code": list(self.skip_on_exit_code)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WatchPolicy:
        """Return what :meth:`to_dict` was given; keys that a newer version added are left out."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        known["programs"] = {
            name: ProgramPolicy(exitcodes=tuple(program["exitcodes"]), essential=program["essential"])
            for name, program in known.get("programs", {}).items()
        }
        known["skip_on_exit_code"] = tuple(known.get("skip_on_exit_code", ()))
        known["on_expire"] = Outcome(known.get("on_expire", Outcome.SUCCESS))
        known["forward_logs"] = Forward(known.get("forward_logs", Forward.ALL))
        return cls(**known)

    def program(self, name: str) -> ProgramPolicy:
        """Return the policy of the program ``name``."""
        return self.programs.get(name, _DEFAULT)

    def is_essential(self, name: str) -> bool:
        """Return whether the program ``name`` decides about the job."""
        nobody = bool(self.programs) and not any(program.essential for program in self.programs.values())
        return nobody or self.program(name).essential


_DEFAULT = ProgramPolicy()


def _programs(job: Job) -> dict[str, ProgramPolicy]:
    """An event listener serves the others for as long as they live: it decides nothing by itself."""
    declared = {
        name: ProgramPolicy(exitcodes=tuple(program.exitcodes), essential=program.essential)
        for name, program in job.programs.items()
    }
    servers = {name: ProgramPolicy(exitcodes=tuple(each.exitcodes)) for name, each in job.fcgi_programs.items()}
    listeners = {
        name: ProgramPolicy(exitcodes=tuple(each.exitcodes), essential=False)
        for name, each in job.event_listeners.items()
    }
    return {**declared, **servers, **listeners}


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))
