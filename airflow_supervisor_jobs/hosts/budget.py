"""How much output may pass: an average rate, and some more at once; every time is passed in."""

from __future__ import annotations

#: Seconds' worth of the rate that may come at once, and at least so many bytes.
BURST_S = 10.0
LEAST_BURST_BYTES = 64 * 1024


class Budget:
    """Bytes that may pass: full in the beginning, used up by what passes, and filled again by time.

    :param rate: bytes a second.
    :param at: the monotonic clock's time now.
    """

    def __init__(self, rate: float, *, at: float) -> None:
        self.burst_bytes = max(rate * BURST_S, LEAST_BURST_BYTES)
        self._rate = rate
        self._bytes = self.burst_bytes
        self._at = at

    def take(self, size: int, *, at: float) -> bool:
        """Use ``size`` bytes; false where nothing is left. The last that passes may be more than there was."""
        if self.left(at=at) <= 0:
            return False
        self._bytes -= size
        return True

    def left(self, *, at: float) -> float:
        """Return how many bytes may pass now."""
        self._bytes = min(self.burst_bytes, self._bytes + (at - self._at) * self._rate)
        self._at = at
        return self._bytes

    def wait_s(self, *, at: float) -> float:
        """Return the seconds until half of what may come at once is there again."""
        return max(0.0, self.burst_bytes / 2 - self.left(at=at)) / self._rate
