"""How full the outbox is, at the price of a few XLEN a second."""

from __future__ import annotations

from serving.ids import SHARDS
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import keys_of


class OutboxDepth:
    """An estimate of the events that all shards' outboxes hold, from those looked at so far.

    Args:
        at_once: shards asked in one round trip; after 256 / ``at_once`` looks the estimate rests on all of them.
    """

    def __init__(self, client: Client, at_once: int = 16) -> None:
        self._client = client
        self._at_once = at_once
        self._next = 0
        self._seen: dict[int, int] = {}

    async def look(self) -> float:
        """Ask the next few shards, and estimate.

        Raises:
            Unavailable.
        """
        shards = [(self._next + i) % SHARDS for i in range(self._at_once)]
        with unavailable():
            pipeline = self._client.pipeline()
            for shard in shards:
                pipeline.xlen(keys_of(shard).outbox)
            lengths: list[int] = await pipeline.execute()
        self._next = (self._next + self._at_once) % SHARDS
        self._seen.update(zip(shards, lengths, strict=True))
        return SHARDS * sum(self._seen.values()) / len(self._seen)
