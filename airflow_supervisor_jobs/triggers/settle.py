"""When a trigger may fire: not before the scheduler knows that its task was deferred.

A worker that defers a task leaves its executor with a message about the end of that worker process. An event that makes
the scheduler queue the task again before it has read the message makes it take the message for the end of the new
process: it fails the task without calling its method ("Executor … reported that the task instance … finished
with state success, but the task instance's state attribute is running").
"""

from __future__ import annotations

import asyncio

#: Seconds from a trigger's start to its event, at least: several rounds of a busy scheduler.
SETTLE_S = 5.0


async def settle(began: float) -> None:
    """At least :data:`SETTLE_S` have passed since ``began``, of the event loop's clock."""
    await asyncio.sleep(began + SETTLE_S - asyncio.get_running_loop().time())
