"""What all models share: frozen, no unknown keys, and each option with an owner and a sentence about it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Owner(Enum):
    """Who acts on an option. It stands in an option's ``Annotated`` type."""

    SUPERVISORD = "supervisord"
    RUNNER = "runner"
    AGENT = "agent"
    AIRFLOW = "Airflow"
    CLIENT = "client"
    REFUSED = "refused"


class MisfitError(ValueError):
    """Options that are right by themselves and do not fit together.

    :param keys: lead to the one to look at, from the model that finds it.
    """

    def __init__(self, message: str, *keys: str) -> None:
        super().__init__(message)
        self.keys = keys


class Model(BaseModel):
    """A frozen value that refuses keys it does not know. The text under a field documents it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        populate_by_name=True,
        hide_input_in_errors=True,
        regex_engine="python-re",
    )

    @model_validator(mode="before")
    @classmethod
    def _target(cls, data: Any) -> Any:
        """``_target_`` may say what is meant anyway, and nothing else: nothing is ever looked up by it."""
        if not isinstance(data, dict) or "_target_" not in data:
            return data
        package, allowed = cls.__module__.partition(".")[0], cls.__name__
        if data["_target_"] not in (
            f"{package}.{allowed}",
            f"{package}.config.{allowed}",
            f"{cls.__module__}.{allowed}",
        ):
            raise MisfitError(f"may only be {package}.{allowed} here. Leave it out", "_target_")
        return {key: value for key, value in data.items() if key != "_target_"}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema, with the texts under the fields."""
        from airflow_supervisor_jobs.config.documentation import option_texts

        made = handler(schema)
        properties = handler.resolve_ref_schema(made)["properties"]
        for name, text in option_texts(cls).items():
            properties[cls.model_fields[name].alias or name]["description"] = text
        return made
