"""A run of a job, step by step on a real host: what Airflow would keep in its database is in mappings here."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import BaseOperator

from airflow_supervisor_jobs.config import make_job
from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG
from airflow_supervisor_jobs.operators.base import VERDICT_KEY
from airflow_supervisor_jobs.operators.programs import CONF_KEY, next_run_id

MOMENT = datetime(2026, 1, 5, 22, tzinfo=timezone.utc)


class Instance(SimpleNamespace):
    """A task instance; XComs are of the run, by task and key."""

    def xcom_pull(self, *, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value


class Store(dict[str, Any]):
    """What a task keeps over its tries."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


class Run:
    """A run of a job's DAG, whose steps are taken one by one.

    :param params: what the run was triggered with.
    :param retriggered: a failed run has triggered it.
    """

    def __init__(self, run_id: str, *, root: Path, retriggered: bool = False, params: Any = None, **job: Any) -> None:
        declared = make_job({"host": {"name": "here", "root": str(root)}, **job}, name="feed")
        self.dag = SupervisorDAG("feed", job=declared)
        conf = {CONF_KEY: {"count": 1, "restart_of": run_id}} if retriggered else {}
        run_id = next_run_id(run_id, 1) if retriggered else run_id
        self.dag_run = SimpleNamespace(
            run_id=run_id, conf=conf, run_after=MOMENT, logical_date=None, start_date=MOMENT, data_interval_end=None
        )
        self.params = {**self.dag.params, **(params or {})}
        self.run_id, self.xcoms, self.stores = run_id, dict[tuple[str, str], Any](), dict[str, Store]()

    def step(self, task_id: str) -> Any:
        """Return the XCom that the step leaves."""
        task: Any = self.dag.get_task(task_id)
        assert isinstance(task, BaseOperator)
        # What a task pushed in an earlier try is gone.
        for key in [key for key in self.xcoms if key[0] == task_id]:
            del self.xcoms[key]
        result = task.perform(self._context(task))
        self.xcoms[task_id, "return_value"] = result
        return result

    def set_up(self) -> dict[str, Any]:
        """Return what became of the job's process when all was set up."""
        for task_id in ("configure_supervisord", "start_supervisord"):
            self.step(task_id)
        (process,) = self.step("start_programs")
        return dict(process)

    def watch_says(self, verdict: str | None) -> None:
        """The watch has come to a verdict, or was ended before."""
        self.xcoms["watch_programs", VERDICT_KEY] = verdict

    def tear_down(self) -> None:
        """The last steps were taken."""
        for task_id in ("stop_programs", "stop_supervisord", "remove_configuration"):
            self.step(task_id)

    def _context(self, task: Any) -> Any:
        return {
            "ti": Instance(xcoms=self.xcoms, task_id=task.task_id, dag_id="feed", run_id=self.run_id, map_index=-1),
            "task": task,
            "dag": self.dag,
            "dag_run": self.dag_run,
            "params": self.params,
            "run_id": self.run_id,
            "task_state_store": self.stores.setdefault(task.task_id, Store()),
        }
