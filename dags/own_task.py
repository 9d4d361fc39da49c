"""A job with a task of one's own between the watch and the restart: it sees how the programs ended."""

from airflow.sdk import task

from airflow_supervisor_jobs import SupervisorDAG

with SupervisorDAG("ticker_with_report", job="local_ticker", tags={"example"}) as dag:

    @task
    def report(records: dict[str, dict[str, object]]) -> str:
        """Say for each program how it ended, and when."""
        return ", ".join(f"{name}: exit code {record['exit_code']}" for name, record in records.items())

    dag.watch_programs >> report(dag.watch_programs.output) >> dag.restart_programs
