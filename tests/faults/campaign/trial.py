"""A fault that is tried many times: how often, with which dice, and what was found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from random import Random

import pytest

from tests.services.moment import some_moment

#: How often each fault is tried, and what its dice start from; the same number throws the same dice.
TRIALS = int(os.environ.get("TRIALS") or 1)
SEED = os.environ.get("SEED") or "0"
FACTS = "promise"


@dataclass
class Trial:
    """One try of a fault.

    :ivar random: its dice: the moment, the victim, the shape.
    :ivar tried: how many cases this try holds, as 287 exit statuses in one job.
    :ivar violated: in how many of them the promise did not hold, if the try fails; 1 where it does not say.
    """

    random: Random
    tried: int = 1
    violated: int = 1

    async def moment(self, *, within: float = 0.3) -> None:
        """Return after a random part of so many seconds: the fault hits whatever happens then."""
        await some_moment(self.random, within=within)


def times(marker: pytest.Mark) -> int:
    """Return how often a fault of that marker is tried: ``weight`` times as often as others, once at least."""
    return max(1, round(TRIALS * marker.kwargs.get("weight", 1))) if TRIALS > 1 else 1


def facts_of(item: pytest.Item, marker: pytest.Mark) -> dict[str, str]:
    """Return what a report about the test tells of its promise."""
    promise, fault = marker.args
    return {"promise": promise, "fault": fault, "test": item.nodeid.rpartition("[trial")[0] or item.nodeid}


def dice(item_id: str) -> Random:
    """Return the dice of a test: they depend on the seed and on its name alone."""
    return Random(f"{SEED} {item_id}")
