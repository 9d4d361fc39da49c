"""Every hour, what a run has left behind on a host is found and ended: a program, or a process without a runner."""

from airflow_supervisor_jobs import SupervisorOrphansDAG

dag = SupervisorOrphansDAG(tags={"example"})
