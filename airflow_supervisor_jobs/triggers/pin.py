"""What a run has resolved and keeps until its end, whatever is edited meanwhile.

It goes through Airflow's database (task state, XCom, trigger arguments), so it is JSON, it carries a
format, and it holds no secret: a host's password or key is named in it, never contained.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from typing_extensions import Self

from airflow_supervisor_jobs.config import Cleanup, Host
from airflow_supervisor_jobs.core.policy import WatchPolicy
from airflow_supervisor_jobs.exceptions import HostRefused

FORMAT = 1


@dataclass(frozen=True)
class Pin:
    """A job as one run of a DAG has it.

    :param job: the job's name.
    :param hash: of the spec that was installed.
    :param host: the host, as :class:`~airflow_supervisor_jobs.config.Host` dumps itself.
    :param owner: whose job it is: deployment, DAG, run, task and map index.
    :param processes: the names of all its processes.
    :param policy: the rules of the watch, as :class:`~airflow_supervisor_jobs.core.policy.WatchPolicy` dumps itself.
    :param if_running: what a start does about another owner's programs: ``adopt``, ``restart`` or ``fail``.
    :param maxretrigger: how many further runs may be triggered after failures.
    :param stop_on_exit: whether the end of the run stops the programs.
    :param cleanup: whether it deletes the job's logs and records on the host too: true, false or ``on_success``.
    :param machine: for a job on the local host, which machine that is; None for a job elsewhere.
    :param secrets: where the programs' secrets are, each as ``{kind: name}``; never the secrets.
    :param reference_date: the moment after which ``endtime`` was looked for, ISO 8601; the next run inherits it.
    """

    job: str
    hash: str
    host: Mapping[str, Any]
    owner: Mapping[str, str]
    processes: tuple[str, ...]
    policy: Mapping[str, Any]
    if_running: str
    maxretrigger: int
    stop_on_exit: bool
    cleanup: bool | str
    reference_date: str
    machine: str | None = None
    secrets: tuple[Mapping[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"format": FORMAT, **asdict(self), "processes": list(self.processes), "secrets": list(self.secrets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` was given; keys that a newer version added are left out."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        lists = {"processes": tuple(known["processes"]), "secrets": tuple(known.get("secrets", ()))}
        return cls(**{**known, **lists})

    @property
    def watch_policy(self) -> WatchPolicy:
        """The rules of the watch."""
        return WatchPolicy.from_dict(self.policy)

    def purges(self, *, succeeded: bool) -> bool:
        """Return whether the job's logs and records on the host are to be deleted.

        :param succeeded: whether the watch did.
        """
        return succeeded if self.cleanup == Cleanup.ON_SUCCESS.value else bool(self.cleanup)

    def with_policy(self, **changes: Any) -> Self:
        """Return the pin with these fields of the watch's rules replaced."""
        return replace(self, policy=replace(self.watch_policy, **changes).to_dict())

    def resolved_host(self) -> Host:
        """Return the host.

        :raises HostRefused: it is the local host of another machine than this.
        """
        host = Host.model_validate(dict(self.host))
        if self.machine is not None and self.machine != this_machine():
            raise HostRefused(
                f"the job was set up on {self.machine}, and this is {this_machine()}. Give the job a host that is "
                "reached by SSH, or a queue that only that machine serves, with `watch: reschedule`.",
                host=host.name,
                job=self.job,
            )
        return host


def pinned_cleanup(cleanup: Cleanup) -> bool | str:
    """Return the form that a pin has it in, which every version reads."""
    return {Cleanup.NEVER: False, Cleanup.ALWAYS: True}.get(cleanup, cleanup.value)


def this_machine() -> str:
    """Return the name of this machine, or of the container that this is."""
    return socket.gethostname()
