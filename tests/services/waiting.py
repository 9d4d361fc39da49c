"""Waiting for a condition, never for time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

PATIENCE = 30.0


async def eventually(condition: Callable[[], bool], *, last_seen: Callable[[], object]) -> None:
    """Return as soon as the condition holds; fail with what was last seen where it never does."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"Waited {PATIENCE} s in vain. Last seen: {last_seen()}")
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as the condition holds; fail where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Waited {PATIENCE} s in vain for {what}")
        time.sleep(0.005)


async def one_turn() -> None:
    """Let every task that is ready have one turn."""
    await asyncio.sleep(0)
