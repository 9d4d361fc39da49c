"""The steps of a job as Airflow tasks."""
