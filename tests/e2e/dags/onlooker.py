"""Another DAG that waits for the watches of two jobs, and one that an asset of a watch starts."""

from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG, Asset, task

from airflow_supervisor_jobs import SupervisorDAG

fed = Asset("fed")

ends_seen_well = SupervisorDAG("ends_seen_well", job={"command": "sleep 3", "host": "here"})
ends_seen_well.watch_programs.outlets = [fed]
ends_seen_badly = SupervisorDAG("ends_seen_badly", job={"command": "sh -c 'sleep 3; exit 6'", "host": "here"})

with DAG("onlooker") as onlooker:
    for job in ("ends_seen_well", "ends_seen_badly"):
        ExternalTaskSensor(
            task_id=f"waits_for_{job}",
            external_dag_id=job,
            external_task_id="watch_programs",
            failed_states=["failed"],
            poke_interval=2,
        )

with DAG("fed_by_the_watch", schedule=[fed]):

    @task
    def eat() -> None:
        """It runs."""

    eat()
