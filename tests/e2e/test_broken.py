"""A YAML file that cannot be read."""

from __future__ import annotations

import pytest

from tests.e2e.fleet import Fleet

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(1800)]


def test_it_shows_as_a_dag_that_says_why(fleet: Fleet) -> None:
    assert fleet.api.import_errors() == []
    state, tasks = fleet.ended("broken__broken")
    assert (state, tasks) == ("failed", {"read_configuration": "failed"})
    log = fleet.log("broken__broken", "read_configuration")
    for part in ("broken.yaml:1:1", "comand", "command"):
        assert part in log
