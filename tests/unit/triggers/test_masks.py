"""Where a job's secrets are, and how they get masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, Program, Secret
from airflow_supervisor_jobs.triggers import masks
from airflow_supervisor_jobs.triggers.masks import mask_secrets, secret_places


def job(**environment: str | Secret) -> Job:
    return Job(name="feed", programs={"feed": Program(command="x", environment=environment)})


def test_every_place_is_found_once() -> None:
    found = secret_places(
        job(
            A=Secret(env="TOKEN"),
            B=Secret(file="/run/secret"),
            C="https://{{ conn.venue.login }}:{{ conn.venue.password }}@venue",
            D="{{ var.value.api_key }}",
            E="plain",
            F="{{ ds }} and {{ dag.dag_id }}",
            G="{{ not a template",
        )
    )
    assert found == [{"env": "TOKEN"}, {"file": "/run/secret"}, {"conn": "venue"}, {"var": "api_key"}]


async def test_what_can_be_looked_up_here_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masked = []

    async def amask_secret(value: str) -> None:
        masked.append(value)

    monkeypatch.setattr(masks, "amask_secret", amask_secret)
    monkeypatch.setenv("TOKEN", "from the environment")
    (tmp_path / "secret").write_text("from a file\n")
    await mask_secrets([{"env": "TOKEN"}, {"env": "NOT_HERE"}, {"file": str(tmp_path / "secret")}])
    assert masked == ["from the environment", "from a file"]
