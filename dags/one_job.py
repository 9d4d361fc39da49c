"""One job as a DAG of its own, with arguments of Airflow's DAG beside it."""

from airflow_supervisor_jobs import SupervisorDAG

dag = SupervisorDAG("ticker_on_demand", job="local_ticker", tags={"example"}, description="Ticks for a while")
