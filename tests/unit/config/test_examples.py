"""Every example of configs/ loads, renders and survives its way through JSON; the tests need no variable of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, load_host, load_job, render_spec, render_templates

FOLDER = Path(__file__).parents[3] / "configs"
JOBS = sorted(path.stem for path in (FOLDER / "job").glob("*.yaml"))
DEMO = {"local_ticker", "remote_pair", "remote_failure"}


@pytest.mark.parametrize("name", JOBS)
def test_example(name: str) -> None:
    job = render_templates(load_job(name, config_dir=FOLDER), lambda text: text.replace("{{ ds }}", "2026-01-02"))
    spec = render_spec(job, environ={"FEED_API_TOKEN": "t0ken"})
    assert spec["processes"]
    assert "t0ken" not in job.model_dump_json()
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_the_demos_jobs_are_there() -> None:
    assert set(JOBS) >= DEMO
    assert load_job("local_ticker", config_dir=FOLDER).host.is_local
    assert {load_job(name, config_dir=FOLDER).host.name for name in DEMO} == {"local", "demo"}
    assert load_host("demo", config_dir=FOLDER).ssh_conn_id == "supervisor_demo"
