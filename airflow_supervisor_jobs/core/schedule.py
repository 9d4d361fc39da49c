"""When a run is over by plan."""

from __future__ import annotations

from datetime import datetime, time, tzinfo

from airflow_supervisor_jobs.exceptions import ConfigError


def endtime_at(endtime: str, *, reference: datetime, timezone: tzinfo) -> float:
    """Return the moment, in seconds since the epoch, of the wall-clock time ``endtime`` on the day of ``reference``.

    The day is the one that a calendar in ``timezone`` shows at ``reference``. A time that the clocks skip on that day
    is taken as if they had not yet been put forward; of one that comes twice, the first is taken.

    :param endtime: ``HH:MM`` or ``HH:MM:SS``.
    :raises ConfigError: ``endtime`` is no time of day, or ``reference`` has no time zone.
    """
    if reference.tzinfo is None:
        raise ConfigError(f"the reference date {reference} has no time zone: give it one")
    try:
        at = time.fromisoformat(endtime)
    except ValueError as error:
        raise ConfigError(f"endtime {endtime!r} is no time of day: write HH:MM or HH:MM:SS") from error
    return datetime.combine(reference.astimezone(timezone).date(), at, tzinfo=timezone).timestamp()
