"""A DAG of Airflow for every YAML file in ``configs/job``."""

from airflow_supervisor_jobs import build_dags

build_dags(globals())
