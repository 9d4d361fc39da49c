"""Parses a DAG file in this process, as often as asked, and says how long each time took. Runs in any environment.

python parse_file.py FILE TIMES MODULE...

The modules are imported before, and their time is told apart: a DAG processor forks a process for each file, which has
Airflow, and imports the rest.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import sys
import time


def main(file: str, times: str, *modules: str) -> None:
    """Print a line of JSON: how many DAGs there are, the seconds of the imports and those of each time."""
    import airflow.dag_processing.processor  # noqa: F401 - what such a process has
    from airflow.sdk import DAG

    began = time.perf_counter()
    for name in modules:
        importlib.import_module(name)
    imports = time.perf_counter() - began
    seconds, dags = [], []
    for number in range(int(times)):
        began = time.perf_counter()
        # As Airflow loads one, by a module's name of its own, with Python's cache of byte code.
        loader = importlib.machinery.SourceFileLoader(f"parsed_{number}", file)
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(module)
        dags = [each for each in vars(module).values() if isinstance(each, DAG)]
        seconds.append(time.perf_counter() - began)
    print(
        json.dumps({"dags": len(dags), "tasks": sum(len(dag.tasks) for dag in dags), "imports": imports, "s": seconds})
    )


main(*sys.argv[1:])
