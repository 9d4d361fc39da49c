"""Long-running jobs on your hosts: supervised by supervisord, scheduled and shown by Airflow."""
