"""Secrets that a program may print show as ``***`` in its watch's log, as far as this process can look them up.

A pin names where the secrets of a job are; the values stay where they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import jinja2
from airflow.sdk import Connection, Variable
from airflow.sdk.log import amask_secret
from jinja2 import nodes

from airflow_supervisor_jobs.config import Job, Secret


def secret_places(job: Job) -> list[dict[str, str]]:
    """Return where the secrets in the programs' environment are: ``{kind: name}`` of each, once."""
    programs = {**job.programs, **job.fcgi_programs, **job.event_listeners}
    found = {}
    for program in programs.values():
        for value in program.environment.values():
            for place in _places(value):
                found[tuple(place.items())] = place
    return list(found.values())


async def mask_secrets(places: Iterable[Mapping[str, str]]) -> None:
    """Airflow masks those that can be looked up here; the others are not known here, so nothing can mask them."""
    for place in places:
        for kind, name in place.items():
            with suppress(Exception):  # a secret that is not here must not stop a watch
                await amask_secret(await _look_up(kind, name))


async def _look_up(kind: str, name: str) -> Any:
    if kind == "conn":
        return (await Connection.async_get(name)).password
    if kind == "var":
        return await asyncio.to_thread(Variable.get, name)
    return Secret(**{kind: name}).resolve(os.environ)


def _places(value: str | Secret) -> Iterator[dict[str, str]]:
    if isinstance(value, Secret):
        yield value.model_dump(exclude_none=True)
        return
    with suppress(jinja2.TemplateSyntaxError):
        for node in jinja2.Environment(autoescape=False).parse(value).find_all(nodes.Getattr):  # noqa: S701 -- no HTML
            match node:
                case nodes.Getattr(node=nodes.Name(name="conn"), attr=name):
                    yield {"conn": name}
                case nodes.Getattr(node=nodes.Getattr(node=nodes.Name(name="var"), attr="value"), attr=name):
                    yield {"var": name}
