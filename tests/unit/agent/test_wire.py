"""What the agent sends: states and answers overtake lines, and only few lines are under way at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from airflow_supervisor_jobs.agent import wire
from airflow_supervisor_jobs.agent.wire import UnderWay
from tests.services.waiting import wait_until


class Outbox(wire.Outbox):
    """Ends with its reader, and not with this process."""

    def end(self) -> None:
        pass


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, int]]:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:
        yield reader, writing  # which stays open: the outbox's thread may still write, and to nobody else's file


def test_lines_wait_for_those_under_way_and_a_state_does_not(pipe: tuple[BinaryIO, int]) -> None:
    reader, writing = pipe
    outbox = Outbox(writing)
    outbox.under_way.limit = 3000
    for number in range(10):
        outbox.put({"event": "log", "number": number, "data": "x" * 1000}, bulk=True)
    wait_until(lambda: len(outbox.bulk) == 7, "the first lines")
    outbox.put({"event": "state"})
    lines = [reader.readline() for _ in range(4)]
    assert [json.loads(line).get("number", "state") for line in lines] == [0, 1, 2, "state"]

    outbox.receive(sum(len(line) for line in lines[:3]))

    assert [json.loads(reader.readline())["number"] for _ in range(3)] == [3, 4, 5]


def test_no_more_is_made_than_may_be_under_way(pipe: tuple[BinaryIO, int]) -> None:
    outbox = Outbox(pipe[1])
    outbox.under_way.limit = 3000
    made = 0
    while outbox.has_room():
        outbox.put({"data": "x" * 1000}, bulk=True)
        made += 1
    assert made <= 3 + 3  # as much under way, and as much again queued behind it


def carry(under_way: UnderWay, *, rate: float, way_s: float, seconds: float) -> None:
    """Let a link of so many bytes a second and so much delay carry as much as it may for a while."""
    now, on_link, free_at = 0.0, list[tuple[float, int]](), 0.0
    while now < seconds:
        while not under_way.is_full():
            size = min(8192, under_way.limit // 4)
            under_way.add(size, now)
            free_at = max(now, free_at) + size / rate
            on_link.append((free_at + way_s, size))
        under_way.wait()
        now, size = on_link.pop(0)
        under_way.take(size, now)


@pytest.mark.parametrize("way_s", [0.0, 0.05, 0.6])
def test_a_slow_link_is_given_what_it_carries_in_a_moment(way_s: float) -> None:
    under_way = UnderWay()
    carry(under_way, rate=100_000, way_s=way_s, seconds=60)
    assert under_way.limit <= 100_000 * (way_s + 3 * wire.QUEUEING)


@pytest.mark.parametrize("way_s", [0.001, 0.05, 0.6])
def test_a_fast_link_is_filled_however_long_it_is(way_s: float) -> None:
    under_way = UnderWay()
    carry(under_way, rate=50_000_000, way_s=way_s, seconds=60)
    assert under_way.limit == wire.MOST_UNDER_WAY


def test_a_receipt_that_says_too_much_counts_for_what_was_sent() -> None:
    under_way = UnderWay()
    under_way.add(1000, 0.0)
    under_way.take(10**9, 1.0)
    assert under_way.sent == under_way.received == 1000


def test_few_lines_that_come_seldom_teach_nothing_about_the_link() -> None:
    under_way = UnderWay()
    for hour in range(200):
        under_way.add(200, 3600.0 * hour)
    assert under_way.limit == wire.FIRST_UNDER_WAY
    under_way.take(wire.RECEIPT, 3600.0 * 200)
    assert under_way.limit == wire.FIRST_UNDER_WAY
