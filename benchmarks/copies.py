"""Another Redis with the same features and policies: what `ooml serve` needs to find, without Feast's seconds."""

from __future__ import annotations

import itertools

import redis

from cli.embedded import EmbeddedServer

OWN = b"ooml:{"
"""Keys of scopes: evidence, decisions, logs. They stay behind."""

AT_ONCE = 500


def copy(source: redis.Redis, target: EmbeddedServer, *, cluster: bool = False) -> None:
    """Copy Feast's rows, the policies and their plans, all of them hashes; on a cluster each to its slot."""
    client: redis.Redis | redis.RedisCluster
    client = redis.RedisCluster(host=target.host, port=target.port) if cluster else redis.Redis(host=target.host, port=target.port)
    with client:
        keys = (key for key in source.scan_iter(count=AT_ONCE, _type="HASH") if not key.startswith(OWN))
        while some := list(itertools.islice(keys, AT_ONCE)):
            with source.pipeline(transaction=False) as reading:
                for key in some:
                    reading.hgetall(key)
                rows = reading.execute()
            with client.pipeline() if cluster else client.pipeline(transaction=False) as writing:
                for key, row in zip(some, rows, strict=True):
                    writing.hset(key, mapping=row)
                writing.execute()
