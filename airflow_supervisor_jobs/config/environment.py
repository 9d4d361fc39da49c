"""Environment values: plain text, or a reference to a secret that is looked up when the job is set up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag, model_validator

from airflow_supervisor_jobs.config.base import Model
from airflow_supervisor_jobs.config.values import Text, check_text
from airflow_supervisor_jobs.exceptions import ConfigError

_ENVIRONMENT_NAME = re.compile(r"[^=\0\s][^=\0\r\n]*")


class Secret(Model):
    """Where a secret is found, on the side that sets the job up. The secret itself is never part of a model."""

    env: Text | None = None
    """The environment variable that holds it."""

    file: Text | None = None
    """The file that holds it, without its last line end."""

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret has one place. Write {env: NAME} or {file: PATH}")
        return self

    def resolve(self, environ: Mapping[str, str]) -> str:
        """Return the secret.

        :raises ConfigError: it is not where it should be.
        """
        try:
            return check_text(self._look_up(environ))
        except ValueError as error:
            raise ConfigError(f"the secret {error}") from error

    def _look_up(self, environ: Mapping[str, str]) -> str:
        if self.env is not None:
            if self.env not in environ:
                raise ConfigError(f"the environment variable {self.env}, which holds a secret, is not set. Set it here")
            return environ[self.env]
        path = Path(str(self.file)).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the file {path}, which holds a secret, cannot be read: {error}") from error
        return text.removesuffix("\n").removesuffix("\r")


def _check_environment_name(name: str) -> str:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not the name of an environment variable. It has no '=', no blank first")
    return name


def _number_as_text(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError(f"{value!r} could be written in several ways. Put it in quotes")  # noqa: TRY004
    return str(value) if isinstance(value, int) else value


_Plain = Annotated[Text, BeforeValidator(_number_as_text, json_schema_input_type=str | int)]

#: The name of an environment variable.
EnvironmentName = Annotated[Text, AfterValidator(_check_environment_name)]
#: The value of one: text (a whole number is taken as it is written), or where a secret is.
EnvironmentValue = Annotated[
    Annotated[_Plain, Tag("Text")] | Annotated[Secret, Tag("Secret")],
    Discriminator(lambda value: "Secret" if isinstance(value, dict | Secret) else "Text"),
]
#: Environment variables by name.
Environment = dict[EnvironmentName, EnvironmentValue]
