"""The keyword arguments of the DAG that may stand in YAML."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from typing_extensions import TypedDict

from airflow_supervisor_jobs.config.values import Boolean, Strings, Text, parse_duration

_ZONED = re.compile(r"(?P<moment>[^\[]+)\[(?P<zone>[\w+/-]+)\]")


def parse_moment(value: Any) -> Any:
    """Return the moment of a date, of ISO 8601, or of it with the name of a zone after it: `2026-01-01[Europe/London]`.

    :raises ValueError: there is no such zone, or none is wanted any more.
    """
    if isinstance(value, str) and (match := _ZONED.fullmatch(value.strip())):
        moment = datetime.fromisoformat(match["moment"])
        if moment.tzinfo is not None:
            raise ValueError(f"{value!r} has an offset and a zone. Leave the offset out")
        try:
            return moment.replace(tzinfo=ZoneInfo(match["zone"]))
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            raise ValueError(f"there is no time zone {match['zone']!r}. Write one like Europe/London") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value


def write_moment(value: datetime) -> str:
    """Return the text that :func:`parse_moment` makes the same moment of."""
    if isinstance(value.tzinfo, ZoneInfo):
        return f"{value.replace(tzinfo=None).isoformat()}[{value.tzinfo.key}]"
    return value.isoformat()


def _parse_span(value: Any) -> Any:
    is_iso = isinstance(value, str) and value.strip().startswith("P")
    return value if is_iso else parse_duration(value)


#: A moment; without a zone it is in Airflow's default one.
Moment = Annotated[
    datetime, BeforeValidator(parse_moment, json_schema_input_type=str), PlainSerializer(write_moment, when_used="json")
]
#: A span of time, in seconds or as `2h`.
Span = Annotated[timedelta, BeforeValidator(_parse_span, json_schema_input_type=float | str)]
_Count = Annotated[int, Field(ge=0)]


class DagOptions(TypedDict, total=False):
    """Keyword arguments of `airflow.sdk.DAG`, under their own names; only what was given is in it."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # type: ignore[misc]

    dag_id: Text
    """The DAG's id; the job's name by default."""
    dag_display_name: Text
    """What the UI calls it."""
    description: Text | None
    """A line about it."""
    doc_md: Text | None
    """Its documentation, in Markdown."""
    schedule: Text | None
    """A cron expression, or a preset like `@daily`; null is by hand."""
    start_date: Moment | None
    """From when on it is scheduled. A zone, as in `2026-01-01[Europe/London]`, is the zone of the schedule too."""
    end_date: Moment | None
    """Until when."""
    catchup: Boolean
    """Whether runs that were missed are made up for."""
    tags: Strings
    """Its tags."""
    params: dict[str, Any]
    """Parameters of a run, and their defaults."""
    default_args: dict[str, Any]
    """Arguments of all its tasks."""
    max_active_runs: _Count
    """How many runs may be active at once."""
    max_active_tasks: _Count
    """How many tasks may."""
    max_consecutive_failed_dag_runs: _Count
    """After how many failed runs it is paused."""
    dagrun_timeout: Span | None
    """How long a run may take. Airflow then skips the teardowns: `check_timeout` or `runtime` are kinder."""
    is_paused_upon_creation: Boolean | None
    """Whether it is paused when first seen."""
    fail_fast: Boolean
    """Whether the first failed task fails the run."""
    render_template_as_native_obj: Boolean
    """Whether Jinja gives Python values."""
    owner_links: dict[str, str]
    """Links of owners."""
    access_control: dict[str, Any]
    """Who may do what with it."""
    template_searchpath: Strings
    """Where Jinja looks for files."""
    disable_bundle_versioning: Boolean
    """Whether a run uses the newest code even if its bundle has versions."""
