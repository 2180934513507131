"""A user of Redis that may run exactly what the documentation says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
import redis

from cli.embedded import EmbeddedServer
from policies.types import ScopeId
from serving.ports import Unavailable
from serving.redis.connect import Client, connect
from serving.redis.depth import OutboxDepth
from serving.redis.janitor import Janitor
from serving.redis.permissions import NEEDED, check_permissions
from tests.redis_users import PASSWORD, make_users
from tests.servers import Cluster, Store
from tests.store.build import policy
from tests.store.conftest import on_redis

ON_A_CLUSTER = ("+cluster|slots", "+command")


@asynccontextmanager
async def as_user(store: Store, *more: str, user: str = "ooml") -> AsyncIterator[Client]:
    """A client of a user, who has ``more`` rules."""
    clustered = isinstance(store, Cluster)
    make_users(store, *(ON_A_CLUSTER if clustered else ()), *more, whose=user)
    client = connect(store.url.replace("redis://", f"redis://{user}:{quote(PASSWORD)}@"), cluster=clustered, timeout_s=5.0)
    try:
        yield client
    finally:
        await client.aclose()


async def test_the_documented_user_can_do_all_that_a_store_does(clean_store: Store) -> None:
    async with as_user(clean_store) as client:
        await check_permissions(client)
        at = on_redis(client)
        await at.store.ping()
        idle = policy(default=1.0, idle_s=0.0, window_s=0.0)
        summed = policy(default=0.0, aggregate="sum")
        opened = await at.open(summed, scope="s")
        for reward in ("1", "2"):
            await at.reward(summed, opened, 1.0, reward)
        assert (await at.sums(summed, scope="s"))["count"] == 1
        await at.open(idle, scope="idle")
        assert await Janitor(client).walk() == 1
        assert await OutboxDepth(client, at_once=256).look() > 0
        await at.store.forget(summed.spec.name, [summed.namespace], ScopeId("s"))
        assert (await at.sums(summed, scope="s"))["count"] == 0


@pytest.mark.parametrize("command", sorted(NEEDED))
async def test_a_user_that_lacks_a_command_is_told_which(command: str, valkey: EmbeddedServer) -> None:
    async with as_user(valkey, f"-{command}") as client:
        with pytest.raises(Unavailable, match=rf"^the user of Redis may not run {command} on keys of ooml:\*; docs/security\.md"):
            await check_permissions(client)


async def test_a_user_that_has_other_keys_is_told_that_nothing_may_be_run_on_ours(clean_store: Store) -> None:
    async with as_user(clean_store, "resetkeys", "~other:*") as client:
        with pytest.raises(Unavailable, match=r"GET, HDEL, HGET, .* on keys of ooml:\*"):
            await check_permissions(client)


async def test_on_a_cluster_every_master_is_asked(redis_cluster: Cluster) -> None:
    async with as_user(redis_cluster) as client:
        await check_permissions(client)
        with redis.Redis(port=redis_cluster.nodes[2].port) as admin:
            admin.execute_command("ACL SETUSER", "ooml", "-zadd")
        with pytest.raises(Unavailable, match="may not run ZADD on"):
            await check_permissions(client)
