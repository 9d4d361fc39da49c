"""What a person may ask for in a single run: the DAG's params that go before the job's own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from pydantic import ValidationError

from airflow_supervisor_jobs.config import AirflowOptions
from airflow_supervisor_jobs.config.wording import message_of
from airflow_supervisor_jobs.exceptions import ConfigError

FORCE_RUN = "force-run"
#: The options that a param may replace, by the param's name. They are airflow-supervisor's names.
FORCED = {"force-runtime": "runtime", "force-endtime": "endtime", "force-maxretrigger": "maxretrigger"}
#: What `force-run` lifts.
_LIMITS = ("runtime", "endtime")


def force_params() -> dict[str, Param]:
    """Return the params of a job's DAG, as the form that triggers a run shows them.

    The form takes the first type for the field; the others are for those who trigger by the API.
    """
    return {
        FORCE_RUN: Param(False, "Run without the job's runtime and endtime.", type="boolean"),
        "force-runtime": _param(
            "In place of the job's runtime: seconds, or a text like 90m or 2h.", "string", "number"
        ),
        "force-endtime": _param("In place of the job's endtime: HH:MM, in the DAG's time zone.", "string"),
        "force-maxretrigger": _param("In place of the job's maxretrigger.", "integer"),
    }


def add_force_params(params: ParamsDict) -> None:
    """A DAG's params have these too; where its author has given one of them a value, that is its default.

    They are added when the DAG has its steps: Airflow copies the params that are there into each, which is most of what
    a step costs, and a task finds those of its DAG anyway.

    :raises ParamValidationError: the value is not of the param's type.
    """
    for name, param in force_params().items():
        given = params.get_param(name) if name in params else None
        if given is not None and given.schema:
            continue
        if given is not None:
            param.resolve(given.value)
        params[name] = param


def forced_options(options: AirflowOptions, params: Mapping[str, Any]) -> AirflowOptions:
    """Return ``options`` with what the run's params force.

    :raises ConfigError: names the param, and says what to write.
    """
    given = {FORCED[name]: params[name] for name in FORCED if params.get(name) not in (None, "")}
    if params.get(FORCE_RUN):
        if at_odds := [name for name in FORCED if FORCED[name] in _LIMITS and FORCED[name] in given]:
            raise ConfigError(f"param {at_odds[0]}: {FORCE_RUN} lifts that limit. Give one of the two")
        given.update(dict.fromkeys(_LIMITS))
    try:
        checked = AirflowOptions.model_validate(given)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        name = next(name for name, option in FORCED.items() if option == finding["loc"][0])
        raise ConfigError(f"param {name}: {message_of(finding)}") from error
    return options.model_copy(update={name: getattr(checked, name) for name in given})


def _param(description: str, *types: str) -> Param:
    return Param(None, description, type=["null", *types])
