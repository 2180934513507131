"""The buckets that callers' rates are counted by: ``ooml:rate:<caller>``, on the store's clock."""

from __future__ import annotations

from serving.access.rates import Grant, Rate
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.scripts import LEASE


class RedisAllowances:
    """`serving.access.rates.Allowances` over Redis: each lease is one script on one key."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def lease(self, caller: str, rate: Rate, need: int, want: int, back: int) -> Grant:
        """See `Allowances.lease`."""
        with unavailable():
            taken, wait_us = await LEASE.run(self._client, [f"ooml:rate:{caller}"], [rate.per_s, rate.burst, need, want, back])
        return Grant(int(taken), int(wait_us) / 1e6)
