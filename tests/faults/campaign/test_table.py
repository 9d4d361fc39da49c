"""The table says what was found, and no more than follows from it."""

from __future__ import annotations

import pytest

from tests.faults.campaign.table import PAGE, bound, own_table, peers_table, write
from tests.faults.campaign.tally import Tally


@pytest.mark.parametrize(
    ("runs", "violations", "words"), [(300, 0, "1 %"), (40, 0, "7.5 %"), (300, 1, "–"), (2, 0, "–"), (0, 0, "–")]
)
def test_the_bound_is_three_in_so_many_runs_and_only_where_nothing_was_found(
    runs: int, violations: int, words: str
) -> None:
    assert bound(runs, violations) == words


def test_the_page_has_room_for_both_tables() -> None:
    text = PAGE.read_text()
    for name in ("faults", "peers"):
        assert text.index(f"<!-- {name}: begin -->") < text.index(f"<!-- {name}: end -->")


def test_a_table_replaces_the_last_one_and_nothing_else(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
    write(page, "x", ["new"])
    assert page.read_text() == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"


def test_a_promise_has_a_sum_and_what_was_skipped_its_reason() -> None:
    rows = [
        {"promise": "G1", "fault": "a", "runs": 2, "trials": 2, "violations": 1, "skipped": ""},
        {"promise": "G1", "fault": "b", "runs": 1, "trials": 1, "violations": 0, "skipped": ""},
        {"promise": "G2", "fault": "c", "runs": 0, "trials": 0, "violations": 0, "skipped": "no root"},
    ]
    lines = own_table(rows)
    assert "| **G1** | **all** | **3** | **3** | **1** | **–** |" in lines
    assert "| G2 | c | not run: no root | | | |" in lines


def test_what_could_not_be_tried_on_a_system_says_why() -> None:
    cells = {
        "airflow-supervisor-jobs": {"violations": 0, "trials": 9},
        "SSHRemoteJobOperator": {"not_run": "it has no supervisord"},
        "airflow-supervisor": {"violations": 3, "trials": 8, "errors": 1},
        "plain supervisord": {"violations": 9, "trials": 9},
    }
    line = peers_table([{"promise": "G1", "fault": "f", "cells": cells}])[-1]
    assert line == "| G1 | f | 0 of 9 | not run: it has no supervisord | 3 of 8, 1 not finished | 9 of 9 |"


def test_a_trial_counts_once_however_many_of_its_reports_failed() -> None:
    tally = Tally()
    for when, outcome in [("setup", "passed"), ("call", "failed"), ("teardown", "failed")]:
        tally.add(report("t[trial0]", when, outcome, tried=287, violated=4))
    for when in ("setup", "call", "teardown"):
        tally.add(report("t[trial1]", when, "passed", tried=287, violated=1))
    row = tally.rows["G2", "f"]
    assert (row.runs, row.trials, row.violations, row.failed) == (2, 574, 4, ["t[trial0]"])


def report(test: str, when: str, outcome: str, **told: int) -> pytest.TestReport:
    facts = {"promise": "G2", "fault": "f", "test": test}
    properties = [("promise", facts), *(told.items() if when == "teardown" else [])]
    return pytest.TestReport(test, (test, 0, test), {}, outcome, None, when, user_properties=properties)
