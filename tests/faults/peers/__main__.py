"""Tries the same faults on this project and on what else people use, and keeps what was found.

python -m tests.faults.peers [--trials N] [--seed S] [--only NAME] FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
import traceback
from pathlib import Path
from random import Random
from typing import Any

from tests.programs.ledger import Ledger

AT_A_TIME = 3


async def try_once(system_type: Any, script: Any, *, number: int, seed: str) -> tuple[int, int]:
    """Return in how many of how many cases the promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="sj", dir="/tmp"))
    ledger = Ledger(folder / "ledger.jsonl")
    try:
        (folder / "x").mkdir()
        async with system_type(folder / "x", number=number) as system:
            try:
                found: tuple[int, int] = await script(system, ledger, Random(seed))
                return found
            finally:
                ledger.end_all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def try_all(system_type: Any, script: Any, *, trials: int, seed: str) -> dict[str, Any]:
    """Return the cell of one fault and one system."""
    from tests.faults.peers.system import NotRun

    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> tuple[int, int]:
        async with gate:
            return await try_once(system_type, script, number=number, seed=f"{seed} {number}")

    found = await asyncio.gather(*map(one, range(trials)), return_exceptions=True)
    counted = [each for each in found if isinstance(each, tuple)]
    errors = [each for each in found if isinstance(each, BaseException)]
    for error in errors:
        if not isinstance(error, NotRun):
            traceback.print_exception(error)
    if not counted:
        return {"not_run": str(errors[0])}
    cell = {"violations": sum(each[0] for each in counted), "trials": sum(each[1] for each in counted)}
    return {**cell, "errors": len(errors)} if errors else cell


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", default="", help="systems and faults whose name holds this")
    options = parser.parse_args()
    # Airflow writes to its home when it is imported.
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    from tests.faults.peers.airflow_supervisor import AirflowSupervisor
    from tests.faults.peers.ours import Ours
    from tests.faults.peers.remote_job import RemoteJob
    from tests.faults.peers.scripts import SCRIPTS
    from tests.faults.peers.supervisord import Supervisord

    rows = []
    for promise, fault, script, once in SCRIPTS:
        cells: dict[str, Any] = {}
        for system in (Ours, Supervisord, AirflowSupervisor, RemoteJob):
            if options.only in system.name or options.only in fault:
                trials = 1 if once else options.trials
                cells[system.name] = await try_all(system, script, trials=trials, seed=f"{options.seed} {fault}")
                print(promise, fault, system.name, cells[system.name], flush=True)
        rows.append({"promise": promise, "fault": fault, "cells": cells})
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
    options.file.parent.mkdir(exist_ok=True)
    options.file.write_text(json.dumps({"seed": options.seed, "rows": rows}, indent=1) + "\n")


asyncio.run(main())
