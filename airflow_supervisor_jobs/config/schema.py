"""The JSON Schema of a job's file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from airflow_supervisor_jobs.config.airflow import AirflowOptions
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.documentation import option_texts
from airflow_supervisor_jobs.config.host import Host
from airflow_supervisor_jobs.config.job import Job
from airflow_supervisor_jobs.config.program import Program
from airflow_supervisor_jobs.config.short_form import DAEMON_SECTIONS, PROGRAM_DEFAULTS


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file in ``configs/job/``, of the short form and of the long one."""
    schema = Job.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema["$defs"]
    shared = [
        TypeAdapter(each).json_schema(ref_template="#/$defs/{model}") for each in (Program, AirflowOptions, DagOptions)
    ]
    for each in shared:
        definitions |= each.pop("$defs", {})
    for name, text in option_texts(DagOptions).items():
        for each in (definitions["DagOptions"], shared[-1]):
            each["properties"][name]["description"] = text
    options = {name: option for each in reversed(shared) for name, option in each["properties"].items()}
    host = Host.model_json_schema(ref_template="#/$defs/{model}")["properties"]
    properties = {
        **options,
        **{name: host[name] for name in DAEMON_SECTIONS},
        **schema["properties"],
        "host": {
            "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Host"}],
            "description": "Where it runs: a file of `configs/host/`, or a host.",
        },
        "defaults": {"type": "array", "description": "Hydra's defaults list: `- policy: NAME`."},
        PROGRAM_DEFAULTS: {"type": "object", "description": "Options of every program that does not set them itself."},
    }
    del properties["source"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }
