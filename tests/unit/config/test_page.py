"""The page about configuration tells the truth: its files load, its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, load_jobs

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, Job]:
    files = re.findall(r"```yaml\n# (configs/\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert len(files) == PAGE.count("```yaml")
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return load_jobs(tmp_path / "configs")


def test_the_short_form_is_the_long_one(jobs: dict[str, Job]) -> None:
    short, long = jobs["market_feed"], jobs["market_feed_long"]
    assert short.host.hostname == "trading-1.example.org"
    assert (short.host, short.airflow, short.dag) == (long.host, long.airflow, long.dag)
    assert list(short.programs.values()) == list(long.programs.values())


def test_its_files_say_what_it_says(jobs: dict[str, Job]) -> None:
    programs = jobs["commands"].programs
    assert programs["words"].argv == programs["list"].argv
    assert programs["shell"].argv[:2] == ("/bin/sh", "-c")
    assert jobs["other_port"].host.port == 2222
    assert jobs["many_files"].host.root.endswith("-many_files")
    feed = jobs["weekday_feed"]
    assert (feed.airflow.endtime, feed.airflow.runtime) == ("17:00", 43200)
    assert feed.programs["weekday_feed"].argv[-1] == "us"


def test_its_python_runs() -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, {})
