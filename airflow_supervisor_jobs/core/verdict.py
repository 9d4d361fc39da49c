"""What a watch concludes: a closed set of verdicts, and what each means for the task that watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Verdict(str, Enum):
    """What is true of a job."""

    RUNNING = "running"
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"
    SUPERSEDED = "superseded"
    LOST = "lost"
    UNREACHABLE = "unreachable"

    def __str__(self) -> str:
        return self.value


class Outcome(str, Enum):
    """How a watch ends because of a verdict."""

    SUCCESS = "success"
    SKIPPED = "skip"
    FAILED = "fail"

    def __str__(self) -> str:
        return self.value


_OUTCOMES = {
    Verdict.FINISHED: Outcome.SUCCESS,
    Verdict.SKIPPED: Outcome.SKIPPED,
    Verdict.SUPERSEDED: Outcome.SKIPPED,
    Verdict.FAILED: Outcome.FAILED,
    Verdict.TIMED_OUT: Outcome.FAILED,
    Verdict.STOPPED: Outcome.FAILED,
    Verdict.LOST: Outcome.FAILED,
    Verdict.UNREACHABLE: Outcome.FAILED,
}


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason.

    :param message: for people; it names host, job and program, and where the full log is.
    :param exit_code: of the program that decided, if one did and it ended with a code.
    :param signal: the number of the signal that ended it, if one did.
    :param program: the process that decided, or None if it was none alone.
    :param final: whether the watch ends with it; only ``running`` and an ``unreachable`` that is still borne do not.
    :param last_lines: the newest output of the process that decided, oldest first.
    """

    verdict: Verdict
    message: str
    exit_code: int | None = None
    signal: int | None = None
    program: str | None = None
    final: bool = True
    last_lines: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**asdict(self), "verdict": self.verdict.value, "last_lines": list(self.last_lines)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """Return what :meth:`to_dict` was given; keys that a newer version added are left out."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        known["verdict"] = Verdict(known["verdict"])
        known["last_lines"] = tuple(known.get("last_lines", ()))
        return cls(**known)

    def outcome(self, *, on_expire: Outcome = Outcome.SUCCESS) -> Outcome | None:
        """Return how the watch ends, or None while it goes on."""
        if not self.final:
            return None
        return on_expire if self.verdict is Verdict.EXPIRED else _OUTCOMES[self.verdict]
