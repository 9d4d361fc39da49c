"""Commands: the job's life without Airflow."""
