"""What people may write, and the one form that it becomes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from airflow_supervisor_jobs.config import DagOptions, Job
from airflow_supervisor_jobs.config.dag import PRESETS, Moment, Schedule, Span
from airflow_supervisor_jobs.config.names import check_name, nearest
from airflow_supervisor_jobs.config.program import AutoRestart
from airflow_supervisor_jobs.config.values import (
    FROM_FILE,
    Boolean,
    ByteSize,
    Clock,
    Command,
    Duration,
    ExitCodes,
    Octal,
    SignalName,
    Strings,
    WholeSeconds,
)

LONDON = ZoneInfo("Europe/London")

GOOD: list[tuple[Any, Any, Any]] = [
    (Duration, 5, 5),
    (Duration, 0.5, 0.5),
    (Duration, "90", 90),
    (Duration, "90s", 90),
    (Duration, "1.5 m", 90),
    (Duration, "2h", 7200),
    (Duration, " 1d ", 86400),
    (WholeSeconds, "1m", 60),
    (ByteSize, "50MB", 50 * 1024 * 1024),
    (ByteSize, "64kb", 65536),
    (ByteSize, 7, 7),
    (SignalName, "SIGTERM", "TERM"),
    (SignalName, "hup", "HUP"),
    (SignalName, 9, "KILL"),
    (SignalName, "15", "TERM"),
    (Octal, "022", 0o22),
    (Octal, 0o22, 0o22),
    (Boolean, "yes", True),
    (Boolean, "off", False),
    (AutoRestart, "Unexpected ", "unexpected"),
    (AutoRestart, "off", False),
    (AutoRestart, True, True),
    (AutoRestart, 1, True),
    (Strings, "a, b", ("a", "b")),
    (ExitCodes, "0,2", (0, 2)),
    (ExitCodes, 3, (3,)),
    (ExitCodes, [0, 255], (0, 255)),
    (Clock, "7:05", "07:05"),
    (Clock, "17:00:30", "17:00:30"),
    (Clock, time(17), "17:00"),
    (Command, ["sleep", 5], ("sleep", "5")),
    (Command, " x ", " x "),
    (Span, "2h", timedelta(hours=2)),
    (Span, timedelta(1), timedelta(1)),
    (Span, "PT2H", timedelta(hours=2)),
    (Moment, "2026-01-01", datetime(2026, 1, 1)),
    (Moment, date(2026, 1, 1), datetime(2026, 1, 1)),
    (Moment, "2026-01-01T08:00+01:00", datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=1)))),
    (Moment, "2026-07-01[Europe/London]", datetime(2026, 7, 1, tzinfo=LONDON)),
]

BAD: list[tuple[Any, Any, str]] = [
    (Duration, -1, "0 or more"),
    (Duration, "-8h", "must not be negative"),
    (Duration, "5 weeks", "is not a duration"),
    (Duration, float("nan"), "is not a duration"),
    (Duration, float("inf"), "is not a duration"),
    (Duration, True, "no durations"),
    (WholeSeconds, "1.5s", "valid integer"),
    (ByteSize, "5XB", "is not a size"),
    (ByteSize, -1, "greater than or equal to 0"),
    (SignalName, "TERN", "is not a signal"),
    (SignalName, "SIG_BLOCK", "is not a signal"),
    (SignalName, 0, "is not a signal"),
    (SignalName, 999, "is not a signal"),
    (Octal, "9", "is not octal"),
    (Octal, "-1", "greater than or equal to 0"),
    (Boolean, "maybe", "neither true nor false"),
    (AutoRestart, "unexpectd", "none of true, false and unexpected. Did you mean unexpected"),
    (AutoRestart, "ture", "Did you mean true"),
    (AutoRestart, "sometimes", "Write one of the three"),
    (AutoRestart, [1], "none of true, false and unexpected"),
    (AutoRestart, 5, "none of true, false and unexpected"),
    (ExitCodes, 256, "less than or equal to 255"),
    (ExitCodes, -1, "greater than or equal to 0"),
    (Clock, "24:00", "not a time of day"),
    (Clock, "12:60", "not a time of day"),
    (Clock, "noon", "not a time of day"),
    (Command, "", "is empty"),
    (Command, [], "is empty"),
    (Command, " ", "is empty"),
    (Command, 5, "neither a text nor a list"),
    (Command, True, "is a boolean to YAML, not a text. Put it in quotes"),
    (Command, ["a\0b"], "NUL"),
    (Command, ["\ud800"], "surrogate"),
    (Command, ["a", True], "valid string"),
    (Moment, "2026-01-01[Nowhere/Town]", "no time zone"),
    (Schedule, "0 8 * *", "5 columns .* this one has 4"),
    (Schedule, "", "this one has 0"),
    (Schedule, "0 25 * * *", "is not a schedule. Mend the cron expression"),
    (Schedule, "daily", "Did you mean '@daily'"),
    (Schedule, "dayly", "Did you mean '@daily'"),
    (Schedule, "@dialy", "Did you mean '@daily'"),
    (Schedule, "Hourly", "Did you mean '@hourly'"),
    (Schedule, "whenever", "Write a preset like '@daily'"),
    (Moment, "2026-01-01T00:00+01:00[Europe/London]", "Leave the offset out"),
]


@pytest.mark.parametrize(("kind", "written", "meant"), GOOD)
def test_what_is_written_is_understood(kind: Any, written: Any, meant: Any) -> None:
    assert TypeAdapter(kind).validate_python(written) == meant


@pytest.mark.parametrize(("kind", "written", "message"), BAD)
def test_what_cannot_be_meant_is_refused(kind: Any, written: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(kind).validate_python(written)


def test_in_a_file_a_number_has_octal_digits_too() -> None:
    assert TypeAdapter(Octal).validate_python(22, context=FROM_FILE) == 0o22
    with pytest.raises(ValidationError, match="is not octal"):
        TypeAdapter(Octal).validate_python(98, context=FROM_FILE)
    assert TypeAdapter(Octal).dump_json(0o22) == b'"022"'


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "a/b", "a b", "a\n", "a" * 65, "é", "..", "a:b", "a;b", "a%b", "\u0661"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        check_name(name)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_what_is_a_name(name: str) -> None:
    assert check_name(name) == name


def test_the_nearest_word_is_the_one_with_letters_swapped_before_one_with_others() -> None:
    assert nearest("prot", ["root", "port"]) == "port"
    assert nearest("zzz", ["root", "port"]) is None


@pytest.mark.parametrize("start", ["2026-01-01", "2026-01-01T00:00+02:00", "2026-07-01T08:30[Europe/London]"])
def test_a_dag_survives_json(start: str) -> None:
    dag = {"start_date": start, "dagrun_timeout": "90m", "tags": "a, b", "params": {"n": 1}}
    job = Job.model_validate({"name": "j", "programs": {"p": {"command": "x"}}, "dag": dag})
    again = Job.model_validate(job.model_dump(mode="json"))
    assert again == job
    assert again.dag["start_date"].tzinfo == job.dag["start_date"].tzinfo


@pytest.mark.parametrize(
    "schedule", [*PRESETS, "0 8 * * 1-5", "*/5 * * * *", "0 0 * * sun#2", "0 8 L * *", "0 0 8 * * *"]
)
def test_a_schedule_of_airflow_is_a_schedule(schedule: str) -> None:
    from airflow.sdk import DAG

    DAG("d", schedule=schedule, start_date=datetime(2026, 1, 1), max_active_runs=1).validate()
    assert TypeAdapter(Schedule).validate_python(schedule) == schedule


def test_a_dags_options_are_those_that_airflow_has() -> None:
    import inspect

    from airflow.sdk import DAG

    assert DagOptions.__annotations__.keys() <= inspect.signature(DAG).parameters.keys()
