"""The keyword arguments of the DAG that may stand in YAML."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from airflow_supervisor_jobs.config.values import Boolean, Strings, Text, parse_duration


def _parse_date(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value


def _parse_span(value: Any) -> Any:
    is_iso = isinstance(value, str) and value.strip().startswith("P")
    return value if is_iso else parse_duration(value)


#: A moment; without a zone it is in Airflow's default one.
Moment = Annotated[datetime, BeforeValidator(_parse_date, json_schema_input_type=str)]
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
    """From when on it is scheduled."""
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
