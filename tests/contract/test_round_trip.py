"""From YAML to the program: under a real supervisord, its arguments and environment are what the file says."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_supervisor_jobs.config import load_file, render_spec
from tests.services.host import OWNER, Host
from tests.services.texts import as_yaml, names, texts

MIRROR = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "programs" / "mirror.py")]


async def run_once(host: Host, text: str) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Return what a program that prints them has for arguments and environment."""
    path = host.root.parent / "mirror.yaml"
    path.write_text(text, encoding="utf-8")
    spec = render_spec(load_file(path))
    await host.pipe.request("install", spec=spec, owner=OWNER, if_running="restart")
    await host.pipe.request("start_supervisord", job="mirror")
    started = await host.start("mirror", verb="restart")
    generation = started["mirror"]["generation"]
    ended = await host.wait(
        lambda s: s["mirror"]["generation"] == generation and (s["mirror"]["record"] or {}).get("complete"), "mirror"
    )
    assert ended["mirror"]["exit_code"] == 0, ended
    output = await host.output("mirror", job="mirror", generation=generation)
    arguments, environment = (bytes.fromhex(line.decode()) for line in output.splitlines())
    return arguments.split(b"\0")[:-1], dict(entry.split(b"=", 1) for entry in environment.split(b"\0")[:-1])


def test_a_program_gets_exactly_what_the_file_says(root: Path) -> None:
    loop = asyncio.new_event_loop()

    def run(**job: Any) -> tuple[list[bytes], dict[bytes, bytes]]:
        return loop.run_until_complete(run_once(host, as_yaml(job)))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        words=st.lists(texts, max_size=5), environment=st.dictionaries(names, texts, max_size=4), as_text=st.booleans()
    )
    @example(words=["x" * 100_000], environment={"X_LONG": "y" * 100_000}, as_text=True)
    @example(words=["", " ", "\n", "'", '"', "%", ";", " # "], environment={"X_EMPTY": ""}, as_text=False)
    def comes_back(words: list[str], environment: dict[str, str], as_text: bool) -> None:
        argv = [*MIRROR, *words]
        found, around = run(command=shlex.join(argv) if as_text else argv, environment=environment)
        assert found == [os.fsencode(word) for word in argv]
        given = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        assert {name: around[name] for name in given} == given
        assert around.keys() == base.keys() | given.keys()

    host = Host(root)
    loop.run_until_complete(host.__aenter__())
    try:
        _, base = run(command=MIRROR)
        comes_back()
    finally:
        loop.run_until_complete(host.pipe.request("remove", job="mirror", owner=OWNER, purge=True))
        loop.run_until_complete(host.pipe.request("stop_supervisord", job="mirror", owner=OWNER))
        loop.run_until_complete(host.__aexit__())
        loop.close()
