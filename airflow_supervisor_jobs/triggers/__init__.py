"""What runs in Airflow's triggerer, and what its database keeps of a job."""
