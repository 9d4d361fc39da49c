"""What Airflow is told of this provider is in its form, and names what exists."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import airflow
import jsonschema

from airflow_supervisor_jobs.provider import get_provider_info


def test_it_is_in_airflows_form() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_modules_exist() -> None:
    info = get_provider_info()
    modules = [name for kind in ("operators", "sensors", "triggers") for name in info[kind][0]["python-modules"]]
    assert len(modules) == 7
    for name in modules:
        import_module(name)
