"""What people write for a moment in the past."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from airflow_supervisor_jobs.config.values import parse_duration
from airflow_supervisor_jobs.exceptions import ConfigError


def parse_since(text: str, *, now: float) -> float:
    """Return the moment, in seconds since the epoch, that ``10m`` (so long ago), a time of today or a date means.

    What has no zone is of this machine's; a time of the day that is yet to come is yesterday's.

    :param now: the clock's time of the machine whose times are asked for.
    :raises ConfigError: it is none of them.
    """
    try:
        return now - float(parse_duration(text))
    except ValueError:
        pass
    try:
        return _moment(text, datetime.fromtimestamp(now).astimezone()).timestamp()
    except ValueError as error:
        raise ConfigError(
            f"--since {text!r} is no time. Write how long ago, like 90s, 10m or 2h, a time of today, like 08:30, "
            "or 2026-11-21T08:30:00, with Z at its end for UTC"
        ) from error


def _moment(text: str, today: datetime) -> datetime:
    try:
        moment = datetime.combine(today.date(), time.fromisoformat(text)).astimezone()
    except ValueError:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    return moment if moment <= today else moment - timedelta(days=1)
