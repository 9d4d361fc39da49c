"""Watching a job, as an Airflow sensor."""
