"""Every error of this package, in one tree.

Each carries what it is about as attributes and the cure in its message, in the form
``host/job:program: what happened. What to do.``
"""

from __future__ import annotations


class SupervisorJobsError(Exception):
    """The root of the tree.

    :param message: what happened and what to do about it, for people.
    :param host: the name of the host that it is about, if any.
    :param job: the name of the job, if any.
    :param program: the name of the program or process, if any.
    """

    #: What the command line exits with when this error ends it.
    exit_status = 1

    def __init__(
        self,
        message: str,
        *,
        host: str | None = None,
        job: str | None = None,
        program: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.job = job
        self.program = program

    def __str__(self) -> str:
        subject = "/".join(part for part in (self.host, self.job) if part)
        if self.program:
            subject = f"{subject}:{self.program}"
        return f"{subject}: {self.message}" if subject else self.message


class ConfigError(SupervisorJobsError):
    """What was declared cannot be right; the message cites file, line and column where known, a line for each."""

    exit_status = 2

    def __str__(self) -> str:
        prefix = super().__str__().removesuffix(self.message)
        return "\n".join(prefix + line for line in self.message.split("\n"))


class JobNotFound(ConfigError):
    """No YAML file declares a job, host or policy of that name."""


class HostError(SupervisorJobsError):
    """Something on the way to a host, or on it."""

    exit_status = 3


class HostUnreachable(HostError):
    """We cannot see the host now. Nothing follows from it about its jobs."""


class HostRefused(HostError):
    """The host was reached and will never let us in as we are: key, password, host key, no Python."""


class ProtocolError(HostError):
    """What came back is not what an agent says."""


class AgentError(HostError):
    """The agent refused a request.

    :param code: one of the codes of ``docs/reference/protocol.md``.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        host: str | None = None,
        job: str | None = None,
        program: str | None = None,
    ) -> None:
        super().__init__(message, host=host, job=job, program=program)
        self.code = code


class JobBusy(AgentError):
    """Another owner's run of the job is running, and ``if_running`` is ``fail``."""


class JobFailed(SupervisorJobsError):
    """The job itself ended badly; the message says which program, how, and its last lines."""
