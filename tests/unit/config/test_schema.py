"""The schema for editors accepts what we accept, in the short form and the long, and knows a wrong key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_supervisor_jobs.config import json_schema
from airflow_supervisor_jobs.config.source import parse_source

TREE = Path(__file__).parents[3]
CASES = [yaml.safe_load(path.read_text()) for path in sorted((TREE / "tests/cases/render").glob("*.yaml"))]
JOBS = [case["job"] for case in CASES if "error" not in case]
JOBS += [path.read_text() for path in sorted((TREE / "configs/job").glob("*.yaml"))]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", JOBS)
def test_it_accepts_what_we_accept(text: str, validator: Any) -> None:
    errors = [
        f"{list(error.path)}: {error.message}" for error in validator.iter_errors(parse_source(text, label="x").data)
    ]
    assert not errors


@pytest.mark.parametrize(
    "data",
    [
        {"comand": "x"},
        {"command": "x", "runtim": 5},
        {"command": "x", "watch": "never"},
        {"programs": {"a": {"comand": "x"}}},
        {"programs": {"a": {}}},
        {"command": "x", "host": {"hostnam": "x"}},
        {"command": "x", "restart": {"attempts": -1}},
        {"command": "x", "environment": {"A": {"env": 5}}},
    ],
)
def test_it_knows_mistakes(data: dict[str, Any], validator: Any) -> None:
    assert not validator.is_valid(data)


def test_editors_show_a_sentence_for_every_option(validator: Any) -> None:
    properties = validator.schema["properties"]
    definitions = {f"#/$defs/{name}": each for name, each in validator.schema["$defs"].items()}
    silent = [
        name
        for name, each in properties.items()
        if not each.get("description") and not definitions.get(each.get("$ref"), {}).get("description")
    ]
    assert silent == []
    assert {"command", "schedule", "runtime", "programs", "host", "supervisord", "defaults"} <= properties.keys()
