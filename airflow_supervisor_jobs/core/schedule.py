"""When a run is over by plan."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

from airflow_supervisor_jobs.exceptions import ConfigError


def endtime_at(endtime: str, *, reference: datetime, timezone: tzinfo) -> float:
    """Return the first moment after ``reference``, in seconds since the epoch, at which clocks show ``endtime``.

    The clocks are those in ``timezone``. A time that they skip on that day is taken as if they had not yet been put
    forward; of one that comes twice, the first is taken.

    :param endtime: ``HH:MM`` or ``HH:MM:SS``.
    :raises ConfigError: ``endtime`` is no time of day, or ``reference`` has no time zone.
    """
    if reference.tzinfo is None:
        raise ConfigError(f"the reference date {reference} has no time zone: give it one")
    try:
        at = time.fromisoformat(endtime)
    except ValueError as error:
        raise ConfigError(f"endtime {endtime!r} is no time of day: write HH:MM or HH:MM:SS") from error

    def moment(day: date) -> float:
        return datetime.combine(day, at, tzinfo=timezone).timestamp()

    today = reference.astimezone(timezone).date()
    return moment(today) if moment(today) > reference.timestamp() else moment(today + timedelta(days=1))
