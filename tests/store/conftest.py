"""The stores under test, each empty, behind one harness."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from serving.events import LogEntry
from serving.ids import SHARDS
from serving.memory.store import MemoryDecisionStore
from serving.redis.codec import unpack_entry
from serving.redis.connect import Client, connect
from serving.redis.keys import keys_of
from serving.redis.store import RedisDecisionStore, StoreSettings
from tests.servers import Cluster, Store, flush
from tests.store.build import Harness

TICK_US = 5_000


@pytest.fixture(params=["memory", "valkey", "redis_server", "redis_cluster"])
async def at(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Every kind of store in turn."""
    if request.param == "memory":
        yield in_memory()
        return
    server: Store = request.getfixturevalue(request.param)
    flush(server)
    client = client_of(server)
    yield on_redis(client)
    await client.aclose()


@pytest.fixture(params=["valkey", "redis_server", "redis_cluster"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client of every kind of server in turn."""
    server: Store = request.getfixturevalue(request.param)
    flush(server)
    client = client_of(server)
    yield client
    await client.aclose()


def in_memory() -> Harness:
    """A store whose clock moves on by 5 ms whenever it is read."""
    clock = itertools.count(1_700_000_000_000_000, TICK_US)
    rows: dict[bytes, dict[bytes, bytes]] = {}
    store = MemoryDecisionStore(lambda: next(clock), rows)

    async def log() -> list[LogEntry]:
        return list(store.log)

    async def put_row(key: bytes, fields: dict[bytes, bytes]) -> None:
        rows[key] = fields

    return Harness(store, log, put_row)


def on_redis(client: Client, settings: StoreSettings | None = None) -> Harness:
    async def put_row(key: bytes, fields: dict[bytes, bytes]) -> None:
        await client.execute_command("HSET", key, *(part for item in fields.items() for part in item))

    return Harness(RedisDecisionStore(client, settings), lambda: log_of(client), put_row)


def client_of(server: Store, timeout_s: float = 5.0) -> Client:
    return connect(server.url, cluster=isinstance(server, Cluster), timeout_s=timeout_s)


async def log_of(client: Client) -> list[LogEntry]:
    """All shards' logs, one after the other."""
    pipeline = client.pipeline()
    for shard in range(SHARDS):
        pipeline.execute_command("XRANGE", keys_of(shard).outbox, "-", "+")
    streams = await pipeline.execute()
    return [unpack_entry(_fields(entry[1])) for stream in streams for entry in stream]


def _fields(entry: dict[bytes, bytes] | list[bytes]) -> dict[bytes, bytes]:
    return entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))


async def until(holds: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    async with asyncio.timeout(timeout_s):
        while not await holds():  # noqa: ASYNC110  a store has no event to wait for
            await asyncio.sleep(0.005)
