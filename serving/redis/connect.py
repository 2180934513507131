"""Clients that fail fast, never repeat a write by themselves, and find a server that came back at once."""

from __future__ import annotations

from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from serving.redis.link import LinkedCluster, LinkedRedis

Client = LinkedRedis | LinkedCluster


def connect(url: str, *, cluster: bool, timeout_s: float) -> Client:
    """A client of one node or of a cluster; it connects when it is first used, and belongs to one event loop.

    A pooled connection that died is replaced before it is used, so the first call after a restart succeeds. Nothing is ever sent twice:
    whether to repeat is the caller's to know.

    Args:
        url: ``redis://`` or ``rediss://``, credentials and database included; on a cluster, of any node.
        cluster: whether it is a Redis Cluster.
        timeout_s: how long connecting, sending and waiting for an answer may take, each.
    """
    once = Retry(NoBackoff(), 0)
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "driver_info": None,
    }
    if cluster:
        # Follow each MOVED by itself: by default every fifth closes all connections, and breaks the calls under way on them.
        return LinkedCluster.from_url(url, retry=once, reinitialize_steps=0, **settings)  # type: ignore[return-value]  # it says RedisCluster
    return LinkedRedis.from_url(url, retry=once, **settings)  # type: ignore[return-value]  # it says Redis
