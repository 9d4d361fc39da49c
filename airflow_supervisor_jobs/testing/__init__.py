"""In-memory twins of the seams, for this package's tests and for yours."""

from __future__ import annotations

from airflow_supervisor_jobs.testing.host import MemoryHost
from airflow_supervisor_jobs.testing.pipe import MemoryPipe
from airflow_supervisor_jobs.testing.process import MemoryProcess, Script

__all__ = ["MemoryHost", "MemoryPipe", "MemoryProcess", "Script"]
