"""What is written straight into a store, and what is read of it."""

from __future__ import annotations

import pytest
import redis

from benchmarks import state
from cli.embedded import EmbeddedServer
from serving.redis.keys import keys_of

pytestmark = pytest.mark.slow


def test_memory_leaves_the_log_out_even_where_the_store_frees_it_later(clean_valkey: EmbeddedServer) -> None:
    with redis.Redis.from_url(clean_valkey.url) as client:
        before = state.memory(client)
        with client.pipeline(transaction=False) as pipe:
            for entry in range(256 * 256):
                pipe.xadd(keys_of(entry % 256).outbox, {"x": bytes(1500)})
            pipe.execute()
        assert abs(state.memory(client) - before) < 1_000_000  # of 98 MB
