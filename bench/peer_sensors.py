"""Does what the tasks of airflow-supervisor do, and has its sensors watch, a thread each.

python -m bench.peer_sensors PACKAGES

It reads one line of JSON: ``{"place": folder, "commands": […], "ports": [[supervisord's, the client's], …],
"check_s": seconds, "at_once": number, "forward_logs": bool}``. Once all programs run it writes
``{"set_up": [{"configure": seconds, "supervisord": seconds, "start": seconds, "pid": supervisord's}, …]}``,
then ``{"job": number}`` whenever a sensor has come to its end, and ``{"line": …}`` for each line that one logs of its
program. It ends with its input.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import DAG

# Its packages come last: Airflow and what else both of us have is the same for both.
sys.path.append(sys.argv[1])
from airflow_supervisor import (
    Supervisor,
    SupervisorAirflowConfiguration,
    SupervisorRemoteXMLRPCClient,
)
from supervisor_pydantic.convenience import (
    start_programs,
    start_supervisor,
    write_supervisor_config,
)

LOOPBACK = "127.0.0.1"
_saying = threading.Lock()


def configuration(place: Path, command: str, port: int, told: dict[str, Any]) -> Any:
    """Return the configuration of one job; all that is not said here is its default."""
    return SupervisorAirflowConfiguration(
        port=f"{LOOPBACK}:{port}",
        host=LOOPBACK,
        working_dir=place,
        config_path=place / "supervisor.cfg",
        check_interval=timedelta(seconds=told["check_s"]),
        forward_logs=told["forward_logs"],
        program={"p": {"command": command}},
    )


def set_up(config: Any) -> dict[str, float]:
    """Take the first three steps of its DAG, and return what each took."""
    steps: dict[str, Callable[[], object]] = {
        "configure": lambda: write_supervisor_config(config, _exit=False),
        "supervisord": lambda: start_supervisor(config._pydantic_path, _exit=False),
        "start": lambda: start_programs(config, _exit=False),
    }
    seconds = {}
    for name, step in steps.items():
        began = time.monotonic()
        if step() is False:
            raise RuntimeError(f"{name} failed in {config.working_dir}")
        seconds[name] = time.monotonic() - began
    return {**seconds, "pid": int(config.supervisord.pidfile.read_text())}


def sensor(number: int, config: Any, port: int) -> Any:
    """Return the task that watches."""
    # Its `host` and `port` are those of supervisord: a way to it is the client's own.
    client = SupervisorRemoteXMLRPCClient(config.model_copy(update={"port": f"{LOOPBACK}:{port}"}))
    dag = DAG(f"job{number}", schedule=None)
    return Supervisor(dag=dag, cfg=config, xmlrpc_client=client).check_programs


def watch(number: int, task: Any) -> None:
    """Say when the sensor has come to its end, as a failure too."""
    now = datetime.now(timezone.utc)
    instance = SimpleNamespace(task_id=task.task_id, run_id="1", xcom_push=lambda **_: None, xcom_pull=lambda **_: None)
    run = SimpleNamespace(conf={}, data_interval_end=now, start_date=now, logical_date=now)
    task.execute({"task_instance": instance, "ti": instance, "dag_run": run, "params": {}, "dag": task.dag})
    say({"job": number})


class Forwarded(logging.Handler):
    """Says each line that a sensor logs of its program."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say the line without what stands before it."""
        if str(record.msg).startswith("[supervisor "):
            say({"line": cast("tuple[Any, ...]", record.args)[-1]})


def say(words: Any) -> None:
    """The line is out."""
    with _saying:
        print(json.dumps(words), file=STDOUT, flush=True)


def main() -> None:
    """Be that process."""
    told = json.loads(sys.stdin.readline())
    place = Path(told["place"])
    configs = [
        configuration(place / str(number), command, ports[0], told)
        for number, (command, ports) in enumerate(zip(told["commands"], told["ports"], strict=True))
    ]
    forwarding = logging.getLogger("airflow_supervisor.airflow.observability")
    forwarding.setLevel(logging.INFO)
    forwarding.addHandler(Forwarded())
    forwarding.propagate = False
    with ThreadPoolExecutor(told["at_once"]) as pool:
        say({"set_up": list(pool.map(set_up, configs))})
    for number, (config, ports) in enumerate(zip(configs, told["ports"], strict=True)):
        threading.Thread(target=watch, args=(number, sensor(number, config, ports[1])), daemon=True).start()
    sys.stdin.read()


# What is printed by the way is none of these lines.
STDOUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
if __name__ == "__main__":
    main()
    # The sensors that still wait are threads in the middle of a sleep.
    os._exit(0)
