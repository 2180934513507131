"""How often somebody may call: exactly so often over all workers and replicas together, without asking the store at every call.

The store keeps one bucket of tokens per caller. A worker leases some at a time, spends them by itself, and gives back what it did not
need. Over any T seconds a caller is thus admitted at most ``burst + per_s * (T + LEASE_S)`` times, and from the first call on at most
``burst + per_s * T`` times, however many workers there are.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

LEASE_S = 0.1
"""How long leased tokens may be spent: what one worker holds, the others lack."""
LULL_S = 0.025
"""How long a worker refuses a caller whose bucket was empty before it looks again, unless the bucket would overflow meanwhile."""
MOST_METERS = 10_000
"""Callers whose lease is remembered; the token of an issuer may name any number of them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket: it fills with ``per_s`` tokens a second (more than 0), up to ``burst`` (1 or more)."""

    per_s: float
    burst: int

    @classmethod
    def of(cls, per_s: float, burst: int | None = None) -> Rate | None:
        """With a second's worth of burst unless told otherwise; None for no limit (0 a second)."""
        return cls(per_s, burst or max(1, math.ceil(per_s))) if per_s else None


class Grant(NamedTuple):
    """Tokens that were leased; 0: fewer are there than needed, and will be in so many seconds if nobody else takes them."""

    tokens: int
    wait_s: float


class Allowances(Protocol):
    """The buckets of all callers; a caller nobody has seen has a full one."""

    async def lease(self, caller: str, rate: Rate, need: int, want: int, back: int) -> Grant:
        """In one step: put ``back`` tokens into a caller's bucket, then take ``want`` of them, or all if they are fewer but ``need``.

        Raises:
            Unavailable.
        """


class Meter:
    """One caller's calls in this worker."""

    def __init__(self, caller: str, rate: Rate, allowances: Allowances, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._caller = caller
        self._allowances = allowances
        self._clock = clock
        self._most = max(1, min(rate.burst, int(rate.per_s * LEASE_S)))
        self._lull_s = min(LULL_S, 0.5 * rate.burst / rate.per_s)
        self._step = 1
        self._left, self._until = 0, -math.inf
        self._dry, self._dry_until = 0, -math.inf
        self._turn = asyncio.Lock()

    def take(self, cost: int) -> bool:
        """Spend tokens if so many are at hand."""
        if cost <= self._left and self._clock() < self._until:
            self._left -= cost
            return True
        return False

    async def pay(self, cost: int) -> float:
        """Spend tokens, leased now if need be; 0, or in how many seconds it is worth asking again.

        Args:
            cost: at most the burst, or it will never be there.

        Raises:
            Unavailable.
        """
        async with self._turn:
            now = self._clock()
            if self.take(cost):
                return 0.0
            if cost >= self._dry and now < self._dry_until:
                return self._dry_until - now
            back, self._left = self._left, 0  # whatever becomes of the lease, nothing is spent twice
            self._step = min(self._most, 2 * self._step) if now < self._until else max(1, self._step - back)
            granted, wait_s = await self._allowances.lease(self._caller, self.rate, cost, max(cost, self._step), back)
            if granted:
                self._left, self._until = granted - cost, now + LEASE_S
                return 0.0
            wait_s = max(wait_s, self._lull_s)
            self._dry, self._dry_until = cost, now + wait_s
            return wait_s


class Meters:
    """The meters of this worker's callers, each made once and again when its rate has changed."""

    def __init__(self, allowances: Allowances) -> None:
        self._allowances = allowances
        self._meters: dict[str, Meter] = {}

    def of(self, caller: str, rate: Rate | None) -> Meter | None:
        """A caller's meter; None without a limit."""
        if rate is None:
            return None
        meter = self._meters.get(caller)
        if meter is None or meter.rate != rate:
            if len(self._meters) >= MOST_METERS:
                del self._meters[next(iter(self._meters))]
            meter = self._meters[caller] = Meter(caller, rate, self._allowances)
        return meter
