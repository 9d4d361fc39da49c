"""What all models share: frozen, no unknown keys, and each option with an owner and a sentence about it."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict


class Owner(Enum):
    """Who acts on an option. It stands in an option's ``Annotated`` type."""

    SUPERVISORD = "supervisord"
    RUNNER = "runner"
    AGENT = "agent"
    AIRFLOW = "Airflow"
    CLIENT = "client"
    REFUSED = "refused"


class Model(BaseModel):
    """A frozen value that refuses keys it does not know. The text under a field documents it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=False,
        populate_by_name=True,
        hide_input_in_errors=True,
        regex_engine="python-re",
    )
