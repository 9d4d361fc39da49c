"""A random moment, for a fault that is to hit whatever happens then."""

from __future__ import annotations

import asyncio
from random import Random


async def some_moment(random: Random, *, within: float) -> None:
    """Return after a random part of so many seconds; short ones are as likely as long ones, on any scale."""
    await asyncio.sleep(within * random.random() ** 2)
