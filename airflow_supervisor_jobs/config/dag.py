"""The keyword arguments of the DAG that may stand in YAML."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer
from typing_extensions import TypedDict

from airflow_supervisor_jobs.config.names import nearest
from airflow_supervisor_jobs.config.values import Boolean, Strings, Text, parse_duration

#: What Airflow takes for a schedule besides five or more columns.
PRESETS = (
    "@once", "@continuous", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly",
    "@annually",
)  # fmt: skip

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


@lru_cache(maxsize=1000)
def check_schedule(schedule: str) -> str:
    """Return ``schedule`` if Airflow can read it: a preset, or what croniter, by which Airflow reads it, understands.

    :raises ValueError: neither.
    """
    if schedule in PRESETS:
        return schedule
    from croniter import CroniterBadCronError, CroniterBadDateError, croniter

    try:
        croniter(schedule)
    except (CroniterBadCronError, CroniterBadDateError) as error:
        raise ValueError(f"{schedule!r} is not a schedule. {_schedule_hint(schedule, error)}") from error
    return schedule


def _schedule_hint(schedule: str, error: ValueError) -> str:
    columns = schedule.split()
    if len(columns) >= 5:
        return f"Mend the cron expression ({error})"
    guess = nearest(f"@{schedule.strip().lower().lstrip('@')}", PRESETS) if len(columns) == 1 else None
    if guess:
        return f"Did you mean '{guess}'?"
    return (
        f"Write a preset like '@daily', or a cron expression of 5 columns (minute, hour, day, month, weekday), like "
        f"'0 8 * * 1-5'; this one has {len(columns)}"
    )


def _parse_span(value: Any) -> Any:
    is_iso = isinstance(value, str) and value.strip().startswith("P")
    return value if is_iso else parse_duration(value)


#: A moment; without a zone it is in Airflow's default one.
Moment = Annotated[
    datetime, BeforeValidator(parse_moment, json_schema_input_type=str), PlainSerializer(write_moment, when_used="json")
]
#: A span of time, in seconds or as `2h`.
Span = Annotated[timedelta, BeforeValidator(_parse_span, json_schema_input_type=float | str)]
#: A cron expression or a preset.
Schedule = Annotated[Text, AfterValidator(check_schedule)]
_Count = Annotated[int, Field(ge=0)]


class DagOptions(TypedDict, total=False):
    """Keyword arguments of `airflow.sdk.DAG`, under their own names; only what was given is in it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    dag_id: Text
    """The DAG's id; the job's name by default."""
    dag_display_name: Text
    """What the UI calls it."""
    description: Text | None
    """A line about it."""
    doc_md: Text | None
    """Its documentation, in Markdown."""
    schedule: Schedule | None
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
