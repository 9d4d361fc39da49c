"""What Airflow asks an installed provider about itself."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the form of Airflow's provider_info schema."""
    return {
        "package-name": "airflow-supervisor-jobs",
        "name": "Supervisor jobs",
        "description": "Long-running jobs on your hosts, supervised by supervisord.",
    }
