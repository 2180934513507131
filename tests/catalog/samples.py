"""Small plans and policies to publish."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from features.plan import Column, Dtype, Feature, JoinKey, Plan, TransformRef, View
from policies.parse import parse_spec
from serving.ports import PublishedPolicy
from serving.redis.connect import Client, connect
from serving.redis.published import load, publish_plans, publish_policies
from serving.resolve import resolve
from serving.versions import propose
from tests.servers import Cluster, Store

TYPES: Mapping[str, Dtype] = {"age": "float64", "urgent": "bool", "kind": "string"}


def plan(types: Mapping[str, Dtype] = TYPES, *, ttl_s: float | None = None, transform: int = 1, service: str = "tasks_v1") -> Plan:
    """A service over one view; its last feature but `kind` is computed by a transform."""
    stored = [name for name in types if name != "urgent"]
    view = View(
        "task", (JoinKey("task_id", "string"),), b"\x01", b"\x02", tuple(Column(n, n.encode(), types[n]) for n in stored), b"_ts", ttl_s
    )
    features = tuple(
        Feature(name, dtype, None, name, 0) if name == "urgent" else Feature(name, dtype, 0, name, None) for name, dtype in types.items()
    )
    return Plan(service, f"{types}{ttl_s}{transform}", (view,), (TransformRef("urgency", transform),), (), features)


def policy(over: Plan | None = None, *, alpha: float = 1.0, **declared: Any) -> PublishedPolicy:
    """A resolved policy; over a plan when given, else over features that callers send."""
    source = {"features": ["x", "y"]} if over is None else {"feature_service": over.feature_service}
    return resolve(parse_spec({"name": "p", "scope": "user_id", "algorithm": {"linucb": {"alpha": alpha}}, **source, **declared}), over)


async def put(client: Client, *policies: PublishedPolicy, go_live: bool = True) -> None:
    """Publish policies and the plans they use."""
    published = await load(client)
    await publish_plans(client, published.plans_rev, [p.plan for p in policies if p.plan])
    changes = [propose(published, p, at=time.time(), go_live=go_live) for p in policies]
    await publish_policies(client, published.policies_rev, changes)


@asynccontextmanager
async def client_of(store: Store) -> AsyncIterator[Client]:
    client = connect(store.url, cluster=isinstance(store, Cluster), timeout_s=2.0)
    try:
        yield client
    finally:
        await client.aclose()
