"""Overrides, ``key=value`` in Hydra's grammar: which of them choose files, and where the others belong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_supervisor_jobs.config.short_form import GROUPS, place_of
from airflow_supervisor_jobs.config.source import Keys
from airflow_supervisor_jobs.exceptions import ConfigError

_FORM = re.compile(r"(?P<prefix>\+\+|\+|~)?(?P<key>[^=@\s]+)(?P<package>@[^=]+)?(?:=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Override:
    """One override.

    :param text: as it was given.
    :param key: where it belongs in the long form.
    """

    text: str
    prefix: str
    key: str
    package: str
    value: str | None

    @property
    def choice(self) -> tuple[str, str] | None:
        """The group and the file that it chooses, or None."""
        is_name = bool(self.value) and re.fullmatch(r"[\w.-]+", str(self.value))
        chooses = self.key in GROUPS and not self.package and self.prefix != "~" and is_name
        return (self.key, str(self.value)) if chooses else None

    @property
    def line(self) -> str:
        """It in Hydra's grammar; a plain one also adds what is not there."""
        value = "" if self.value is None else f"={self.value}"
        return f"{self.prefix or '++'}{self.key}{self.package}{value}"

    def find(self, keys: Keys, *, of_key: bool = False) -> str | None:  # noqa: ARG002
        """Return what messages call it, if ``keys`` are what it changed."""
        own = tuple(self.key.split("."))
        return f"override {self.text!r}" if tuple(map(str, keys))[: len(own)] == own else None


def parse_overrides(texts: Sequence[str], data: Mapping[str, Any]) -> list[Override]:
    """Return the overrides of a job whose long form is ``data``.

    :raises ConfigError: one is not ``key=value``, or nobody knows its key.
    """
    return [_parse(text, lambda key: place_of(key, data)) for text in texts]


def parse_host_overrides(texts: Sequence[str]) -> list[Override]:
    """Return the overrides of a host's own fields.

    :raises ConfigError: one is not ``key=value``.
    """
    return [_parse(text, lambda key: f"host.{key}") for text in texts]


def _parse(text: str, place: Callable[[str], str]) -> Override:
    match = _FORM.fullmatch(text)
    if not match or (match["value"] is None and match["prefix"] != "~"):
        raise ConfigError(f"override {text!r}: not key=value. Write, for example, host=staging or airflow.runtime=2h")
    key = match["key"] if match["package"] else place(match["key"])
    return Override(text, match["prefix"] or "", key, match["package"] or "", match["value"])
