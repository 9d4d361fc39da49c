"""Every YAML file of the tests' config folder as a DAG of Airflow."""

from airflow_supervisor_jobs import build_dags

build_dags(globals())
