"""A time of day becomes a moment."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from airflow_supervisor_jobs.core.schedule import endtime_at
from airflow_supervisor_jobs.exceptions import ConfigError

NEW_YORK = ZoneInfo("America/New_York")


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=timezone.utc)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endtime", "reference", "want"),
    [
        pytest.param("17:00", utc(2026, 7, 1, 12), utc(2026, 7, 1, 21), id="summer"),
        pytest.param("17:00:30", utc(2026, 1, 5, 13), utc(2026, 1, 5, 22, 0, 30), id="winter, with seconds"),
        pytest.param("23:00", utc(2026, 7, 2, 1), utc(2026, 7, 2, 3), id="the day is the zone's, not UTC's"),
        pytest.param("06:00", utc(2026, 7, 2, 2), utc(2026, 7, 2, 10), id="a job of the night"),
        pytest.param("17:00", utc(2026, 7, 1, 23), utc(2026, 7, 2, 21), id="over on that day: the next"),
        pytest.param("17:00", utc(2026, 7, 1, 21), utc(2026, 7, 2, 21), id="at that very moment: the next"),
        pytest.param("12:00", utc(2026, 3, 7, 18), utc(2026, 3, 8, 16), id="the next, which is an hour shorter"),
        pytest.param("17:00", utc(2026, 3, 8, 6), utc(2026, 3, 8, 21), id="clocks change in between"),
        pytest.param("02:30", utc(2026, 3, 8, 6), utc(2026, 3, 8, 7, 30), id="skipped by the clocks"),
        pytest.param("01:30", utc(2026, 11, 1, 5), utc(2026, 11, 1, 5, 30), id="comes twice: the first"),
    ],
)
def test_endtime_at(endtime: str, reference: datetime, want: datetime) -> None:
    assert endtime_at(endtime, reference=reference, timezone=NEW_YORK) == want.timestamp()


def test_a_reference_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        endtime_at("17:00", reference=datetime(2026, 7, 1), timezone=NEW_YORK)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="'25:00' is no time of day"):
        endtime_at("25:00", reference=utc(2026, 7, 1), timezone=NEW_YORK)
