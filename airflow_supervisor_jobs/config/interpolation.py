"""``${…}`` in a value: OmegaConf puts there what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from airflow_supervisor_jobs.exceptions import ConfigError

#: What messages of Hydra's call the file that everything starts from.
PRIMARY = "__job__"

#: What OmegaConf takes for a value that somebody else has to give.
_MISSING = "???"


class CompositionError(ConfigError):
    """What Hydra or OmegaConf say, and the cure where it is known.

    :param key: the key that it is about, or an empty text.
    """

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def resolve(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with interpolations resolved.

    :raises CompositionError: one leads nowhere, or a value is missing.
    """
    if _is_literal(data):
        return dict(data)
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(dict(data)), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explain(error, key=str(error.full_key or "")) from error
    return cast("dict[str, Any]", resolved)


def _is_literal(value: Any) -> bool:
    """Tell whether a value is what it says, as nearly all are: importing OmegaConf takes longer than all else."""
    if isinstance(value, Mapping):
        return all(map(_is_literal, value.values()))
    if isinstance(value, list):
        return all(map(_is_literal, value))
    return not isinstance(value, str) or ("${" not in value and value != _MISSING)


def explain(error: Exception, *, key: str = "") -> CompositionError:
    """Return the error in our words: what it says first, and the cure."""
    line = str(error).strip().split("\n")[0].removeprefix(f"In '{PRIMARY}': ")
    return CompositionError(line + _hint(str(error)), key=key)


def _hint(text: str) -> str:
    if "nterpolation" in text:
        return ". Write \\${...} for a ${...} that is not meant for the configuration"
    if "Ambiguous value" in text or "mismatched input" in text or "token recognition" in text or "extraneous" in text:
        return ". Quote the value: key='value'"
    return ""
