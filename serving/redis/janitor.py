"""Drops scopes nobody has touched for long, and logs that it did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serving.ports import Unavailable
from serving.redis import scripts
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import EVIDENCE_PATTERN, JANITOR_LOCK, keys_of, scope_of_evidence
from serving.redis.store import IDLE_GRACE_S, StoreSettings

_STEP = 200
"""Keys looked at per call, so that no call holds up the serving ones."""


class Janitor:
    """Walks all evidence once an interval; of all replicas one does.

    Args:
        client: from `connect`.
        settings: as the `RedisDecisionStore`'s.
        interval_s: seconds between two walks; far less than `IDLE_GRACE_S`, after which evidence expires unlogged.
    """

    def __init__(self, client: Client, settings: StoreSettings | None = None, interval_s: float = 3600.0) -> None:
        self._client = client
        self._outbox = (settings or StoreSettings()).outbox
        self._interval_s = interval_s

    async def run(self) -> None:
        """Walk until cancelled. A store that is away is tried again an interval later."""
        while True:
            try:
                if await self._is_my_turn():
                    await self.walk()
            except Unavailable:
                pass
            await asyncio.sleep(self._interval_s)

    async def walk(self) -> int:
        """Drop every scope that is idle now, on every master; returns how many.

        Raises:
            Unavailable.
        """
        dropped = 0
        batch: list[str] = []
        with unavailable():
            async for key in self._client.scan_iter(match=EVIDENCE_PATTERN, count=_STEP):
                batch.append(key.decode())
                if len(batch) == _STEP:
                    dropped += await self._drop_idle(batch)
                    batch.clear()
            dropped += await self._drop_idle(batch)
        return dropped

    async def _is_my_turn(self) -> bool:
        """Whether nobody has begun a walk within the interval; then it is ours."""
        with unavailable():
            return bool(await self._client.set(JANITOR_LOCK, 1, nx=True, px=max(1, round(self._interval_s * 1000))))

    async def _drop_idle(self, batch: Sequence[str]) -> int:
        if not batch:
            return 0
        grace_ms = round(IDLE_GRACE_S * 1000)
        pipeline = self._client.pipeline()
        for key in batch:
            pipeline.pttl(key)
        lives = await pipeline.execute()
        dropped = 0
        for key, life in zip(batch, lives, strict=True):
            if 0 <= life <= grace_ms:
                shard, namespace, scope = scope_of_evidence(key)
                keys = keys_of(shard)
                arguments = (*self._outbox, namespace, scope, grace_ms)
                dropped += await scripts.DROP_IDLE.run(self._client, [keys.sequence, keys.outbox, key], arguments) == 1
        return dropped
