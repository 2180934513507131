from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from cli.embedded import EmbeddedServer
from serving.ports import Unavailable
from serving.redis.connect import Client, connect
from serving.redis.guard import Finding, Severity, UnsafeStore, findings, judge, refuse_in_production
from tests.servers import Cluster, Store


@asynccontextmanager
async def client_of(store: Store) -> AsyncIterator[Client]:
    client = connect(store.url, cluster=isinstance(store, Cluster), timeout_s=2.0)
    try:
        yield client
    finally:
        await client.aclose()


async def found(store: Store) -> tuple[Finding, ...]:
    async with client_of(store) as client:
        return await findings(client)


async def test_an_embedded_server_keeps_what_it_acknowledges(clean_store: Store) -> None:
    assert await found(clean_store) == ()


@pytest.mark.parametrize(
    ("settings", "severities"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, [Severity.LOSSY]),
        ({"appendonly": "no"}, [Severity.LOSSY]),
        ({"appendfsync": "no"}, [Severity.LOSSY]),
        ({"appendfsync": "everysec"}, [Severity.RISK]),
        ({"appendonly": "no", "appendfsync": "everysec", "maxmemory-policy": "volatile-ttl"}, [Severity.LOSSY, Severity.LOSSY]),
    ],
)
async def test_settings_under_which_rewards_are_lost_are_found(
    tmp_path: Path, settings: Mapping[str, str], severities: list[Severity]
) -> None:
    with EmbeddedServer(tmp_path, settings=settings) as server:
        answer = await found(server)
    assert [finding.severity for finding in answer] == severities
    assert {finding.server for finding in answer} == {f"127.0.0.1:{server.port}"}


async def test_on_a_cluster_every_master_is_asked(redis_cluster: Cluster) -> None:
    third = redis_cluster.nodes[2]
    with redis.Redis(port=third.port) as client:
        client.config_set("appendfsync", "everysec")
        try:
            (finding,) = await found(redis_cluster)
        finally:
            client.config_set("appendfsync", "always")
    assert (finding.server, finding.severity) == (f"127.0.0.1:{third.port}", Severity.RISK)


async def test_a_server_that_forbids_config_is_a_warning(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        with redis.Redis(port=server.port) as client:
            client.acl_setuser("default", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"], reset=True)
        (finding,) = await found(server)
    assert finding.severity is Severity.RISK
    assert "forbidden" in finding.text


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        url = server.url
    client = connect(url, cluster=False, timeout_s=1.0)
    with pytest.raises(Unavailable):
        await findings(client)
    await client.aclose()


def test_production_refuses_loss_and_lives_with_risk() -> None:
    lossy = judge("a:1", {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "allkeys-lru"})
    risky = judge("a:1", {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"})
    with pytest.raises(UnsafeStore, match="a:1: maxmemory-policy is allkeys-lru"):
        refuse_in_production([*risky, *lossy], production=True)
    refuse_in_production(lossy, production=False)
    refuse_in_production(risky, production=True)
