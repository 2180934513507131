"""Buckets in memory, for tests and for a server that is alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.access.rates import Grant, Rate


class MemoryAllowances:
    """`serving.access.rates.Allowances` over a dict.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    async def lease(self, caller: str, rate: Rate, need: int, want: int, back: int) -> Grant:
        """See `Allowances.lease`."""
        now = self._clock()
        level, at = self._buckets.get(caller, (float(rate.burst), now))
        level = min(rate.burst, level + max(0.0, now - at) * rate.per_s + back)
        taken = min(want, int(level)) if level >= need else 0
        self._buckets[caller] = (level - taken, now)
        return Grant(taken, 0.0 if taken else (need - level) / rate.per_s)
