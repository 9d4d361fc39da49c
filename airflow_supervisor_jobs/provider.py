"""What Airflow asks an installed provider about itself."""

from __future__ import annotations

from typing import Any

_NAME = "Supervisor jobs"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the form of Airflow's provider_info schema."""
    package = __name__.partition(".")[0]
    return {
        "package-name": "airflow-supervisor-jobs",
        "name": _NAME,
        "description": "Long-running jobs on your hosts, supervised by supervisord.",
        "operators": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    f"{package}.operators.{name}" for name in ("configure", "daemon", "orphans", "programs")
                ],
            }
        ],
        "sensors": [{"integration-name": _NAME, "python-modules": [f"{package}.sensors.programs"]}],
        "triggers": [
            {
                "integration-name": _NAME,
                "python-modules": [f"{package}.triggers.programs", f"{package}.triggers.request"],
            }
        ],
        "config": {
            "supervisor_jobs": {
                "description": "Jobs on your hosts, supervised by supervisord.",
                "options": {
                    "deployment": {
                        "description": (
                            "The name by which hosts tell the jobs of this Airflow from those of others. "
                            "Empty: a random one, kept in the variable supervisor_jobs_deployment."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "production",
                        "default": "",
                    }
                },
            }
        },
    }
