"""What a pipe needs to know of a host: one form for every library."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_ROOT = "~/.airflow-supervisor-jobs"


@dataclass(frozen=True)
class HostSettings:
    """Where an agent is started, and how; equal settings may share one pipe.

    :param host: how people call the host.
    :param root: the folder on the host that its supervisord serves.
    :param python: the command that runs the agent; None is our own interpreter (local hosts).
    :param supervisord: the command of the host's supervisord; None lets the agent look for it.
    """

    host: str = "local"
    root: str = DEFAULT_ROOT
    python: str | None = None
    supervisord: str | None = None
