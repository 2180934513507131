"""A store that decides and is rewarded, a sink that keeps its events, and an audit that looks at both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from deltalake import DeltaTable
from ooml.bandit.v1.bandit_pb2 import ScoreRequest

from events.audit import Auditor, Report
from events.direct import DirectSource
from events.outbox import Outbox
from events.reading import EntryReader, published_in
from events.sink import Sink
from events.table import EventTable
from policies.types import ArmId, Floats, ScopeId
from serving.ids import shard_of
from serving.ports import Decision, Draft, Inputs, PublishedPolicy, Recorded
from serving.redis.catalog import RedisCatalog
from serving.redis.connect import Client
from serving.redis.keys import keys_of
from serving.redis.scripts import DROP_IDLE
from serving.redis.store import StoreSettings
from tests.catalog.samples import policy as declared
from tests.catalog.samples import put
from tests.servers import Cluster, Store
from tests.store.build import Harness, answered
from tests.store.conftest import client_of, on_redis

DRAINED = StoreSettings(sink="drained")
LONG_MS = 10**12


@dataclass
class World:
    """Everything on one store and one table."""

    store: Store
    client: Client
    at: Harness
    url: str
    sink: Sink
    published: dict[str, PublishedPolicy]

    def policy(self, name: str = "p") -> PublishedPolicy:
        return self.published[name]

    async def publish(self, *policies: PublishedPolicy) -> None:
        await put(self.client, *policies)
        self.published.update((policy.spec.name, policy) for policy in policies)

    async def answer(self, policy: PublishedPolicy, made: Decision, request_id: str, body_hash: bytes) -> Recorded:
        """Decide on a request as it came, so that the log knows its request_id."""
        inputs = Inputs(ScoreRequest(request_id=request_id).SerializeToString(), np.empty((len(made.candidates), 0)), b"")
        (recorded,) = await self.at.store.decide([Draft(policy, made, request_id, body_hash, 0, inputs)])
        return answered(recorded)

    async def drain(self) -> None:
        """Let the sink keep all there is."""
        while await self.sink.step():
            pass

    async def audit(self) -> Report:
        return await Auditor(self.client, self.url).run()

    async def drop(self, policy: PublishedPolicy, scope: str) -> None:
        """As if nobody had touched the scope for long."""
        keys = keys_of(shard_of(policy.spec.name, ScopeId(scope)))
        names = [keys.sequence, keys.outbox, keys.evidence(policy.namespace, ScopeId(scope))]
        await DROP_IDLE.run(self.client, names, (*DRAINED.outbox, policy.namespace, scope, LONG_MS))

    async def row(self, policy: PublishedPolicy, scope: str, arm: str) -> bytes | None:
        keys = keys_of(shard_of(policy.spec.name, ScopeId(scope)))
        found: bytes | None = await self.client.execute_command("HGET", keys.evidence(policy.namespace, ScopeId(scope)), arm)
        return found

    async def put_row(self, policy: PublishedPolicy, scope: str, arm: str, row: Floats | None) -> None:
        """Put another row in an arm's place; None: none."""
        key = keys_of(shard_of(policy.spec.name, ScopeId(scope))).evidence(policy.namespace, ScopeId(scope))
        if row is None:
            await self.client.execute_command("HDEL", key, ArmId(arm))
        else:
            await self.client.execute_command("HSET", key, arm, row.tobytes())

    def sync(self) -> redis.Redis | redis.RedisCluster:
        """Another client, that waits."""
        kind = redis.RedisCluster if isinstance(self.store, Cluster) else redis.Redis
        return kind(host=self.store.host, port=self.store.port)

    def table(self) -> pa.Table:
        return DeltaTable(self.url).to_pyarrow_table()


def policy(name: str = "p", **how: Any) -> PublishedPolicy:
    """A policy of two features that callers send, scoped by user, with an hour's window and grace."""
    reward = {"range": [-10, 10], "window": "1h", "late_grace": "1h", "default": 0.5, "aggregate": "sum", **how.pop("reward", {})}
    return declared(name=name, reward=reward, **how)


@asynccontextmanager
async def world_on(store: Store, folder: Path | str, *policies: PublishedPolicy) -> AsyncIterator[World]:
    """On an empty store; the policies are published. The folder may be the URL of one in an object store."""
    client = client_of(store)
    try:
        catalog = RedisCatalog(client, _refuse)
        outbox = Outbox(client)
        source = DirectSource(outbox, EntryReader(published_in(catalog), _refuse))
        url = f"{folder}/events"
        made = World(store, client, on_redis(client, DRAINED), url, Sink(source, EventTable(url), outbox, None, _refuse), {})
        await made.publish(*policies)
        yield made
    finally:
        await client.aclose()


def _refuse(what: str, **said: object) -> None:
    raise AssertionError(f"{what}: {said}")
