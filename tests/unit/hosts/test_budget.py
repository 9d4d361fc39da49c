"""What may pass, and when again."""

from __future__ import annotations

from airflow_supervisor_jobs.hosts.budget import LEAST_BURST_BYTES, Budget

RATE = 10_000.0


def test_a_burst_passes_and_then_nothing() -> None:
    budget = Budget(RATE, at=5.0)
    passed = [budget.take(30_000, at=5.0) for _ in range(6)]
    assert passed == [True, True, True, True, False, False]


def test_time_fills_it_again_but_not_beyond_a_burst() -> None:
    budget = Budget(RATE, at=0.0)
    budget.take(100_000, at=0.0)
    assert budget.left(at=3.0) == 30_000
    assert budget.left(at=1000.0) == 100_000


def test_what_was_too_much_is_paid_back() -> None:
    budget = Budget(RATE, at=0.0)
    budget.take(150_000, at=0.0)
    assert budget.wait_s(at=0.0) == 10.0
    assert not budget.take(1, at=5.0)
    assert budget.wait_s(at=10.0) == 0.0
    assert budget.take(1, at=10.0)


def test_a_small_rate_lets_a_chunk_pass() -> None:
    assert Budget(1.0, at=0.0).take(LEAST_BURST_BYTES, at=0.0)
