"""Airflow's REST API, as far as the tests and the demo use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import httpx

Json = dict[str, Any]

#: SQLite refuses at once what would deadlock with another daemon's write. Nothing of it has then happened.
DATABASE_ATTEMPTS = 6

ENDED_RUN = frozenset({"success", "failed"})
ENDED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowApi:
    """A user of the API server, logged in at the first call that needs it."""

    def __init__(self, url: str, *, username: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120)  # a daemon may hold the database for long
        self._login = {"username": username, "password": password}

    def close(self) -> None:
        """The connections to the API server are closed."""
        self._client.close()

    def health(self) -> Json:
        """Return the state of each part of Airflow."""
        answer = self._client.get("/api/v2/monitor/health")
        answer.raise_for_status()
        return dict(answer.json())

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return what the API answers; a refusal is an error with its words."""
        if "Authorization" not in self._client.headers:
            token = self._client.post("/auth/token", json=self._login)
            token.raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        for _ in range(DATABASE_ATTEMPTS):
            answer = self._client.request(method, f"/api/v2/{path}", **options)
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR or "Database error" not in answer.text:
                break
            time.sleep(0.5)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
        return answer.json() if answer.content else None

    def dag_ids(self) -> set[str]:
        """Return the ids of all active DAGs."""
        return {dag["dag_id"] for dag in self.call("GET", "dags", params={"limit": 1000})["dags"]}

    def import_errors(self) -> list[str]:
        """Return the messages of DAG files that could not be read."""
        return [error["stack_trace"] for error in self.call("GET", "importErrors")["import_errors"]]

    def trigger(
        self, dag_id: str, *, run_id: str | None = None, conf: Json | None = None, logical_date: str | None = None
    ) -> str:
        """A run exists, by default without a logical date; its id is returned."""
        body = {"dag_run_id": run_id, "logical_date": logical_date, "conf": conf or {}}
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        """Return one DAG run."""
        return dict(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[Json]:
        """Return all runs of a DAG, oldest first."""
        answer = self.call("GET", f"dags/{dag_id}/dagRuns", params={"order_by": "run_after", "limit": 100})
        return list(answer["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, Json]:
        """Return a run's task instances by task id."""
        answer = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
        return {task["task_id"]: task for task in answer["task_instances"]}

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        return {task_id: task["state"] for task_id, task in self.tasks(dag_id, run_id).items()}

    def xcoms(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return the XComs of a task by key."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        keys = [entry["key"] for entry in self.call("GET", path)["xcom_entries"]]
        return {key: self.call("GET", f"{path}/{key}")["value"] for key in keys}

    def log_lines(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1) -> list[str]:
        """Return the lines of a task's log, as the UI shows them."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})
        return [str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in content["content"]]

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """A user has marked the task."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """A user has marked the run."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """A user has cleared these tasks of the run."""
        body = {"dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False, "dry_run": False}
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", json=body)

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        """A user has paused the DAG, or set it going again."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": paused})

    def delete_dag(self, dag_id: str) -> None:
        """A user has deleted the DAG with all that Airflow knows of it."""
        self.call("DELETE", f"dags/{dag_id}")

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float) -> str:
        """The run has ended; its state is returned."""
        run = wait_until(
            lambda: self.run(dag_id, run_id),
            lambda run: run["state"] in ENDED_RUN,
            timeout=timeout,
            otherwise=lambda: f"tasks {self.states(dag_id, run_id)}",
        )
        return str(run["state"])

    def wait_for_any_run(self, dag_id: str, *, timeout: float) -> Json:
        """The DAG has a run, whoever made it; the first one is returned."""
        return dict(wait_until(lambda: self.runs(dag_id), bool, timeout=timeout)[0])

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Collection[str], *, timeout: float
    ) -> str | None:
        """The task is in one of the states, which is returned."""
        seen = wait_until(
            lambda: self.states(dag_id, run_id), lambda seen: seen.get(task_id) in states, timeout=timeout
        )
        return seen[task_id]


def wait_until(
    look: Callable[[], Any],
    good: Callable[[Any], bool],
    *,
    timeout: float,
    interval: float = 0.4,
    otherwise: Callable[[], str] = str,
) -> Any:
    """What ``look`` saw satisfies ``good`` and is returned.

    :raises TimeoutError: with what was seen last.
    """
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {timeout:.0f} s; last seen: {seen} {otherwise()}")
        time.sleep(interval)
    return seen
