from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.embedded import EmbeddedServer
from policies.types import Namespace, PolicyName
from serving.memory.catalog import MemoryCatalog
from serving.ports import PolicyCatalog, PublishedPolicy, Unavailable
from serving.redis.catalog import RedisCatalog
from serving.redis.connect import Client
from serving.redis.published import PublishedMeanwhile, load, publish_plans, publish_policies
from serving.versions import propose
from tests.catalog.samples import TYPES, client_of, plan, policy, put
from tests.servers import Store

P = PolicyName("p")
TAKEN_UP_S = 2.0
WAIT_S = 30.0


class Heard(list[tuple[str, dict[str, Any]]]):
    """What a catalogue reported."""

    def __call__(self, event: str, **about: Any) -> None:
        self.append((event, about))


async def within(seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def following(client: Client, heard: Heard | None = None) -> AsyncIterator[RedisCatalog]:
    catalog = RedisCatalog(client, heard if heard is not None else Heard())
    await catalog.start()
    task = asyncio.create_task(catalog.follow())
    try:
        yield catalog
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def in_memory(policies: list[PublishedPolicy], _: Client) -> PolicyCatalog:
    return MemoryCatalog(policies)


async def in_redis(policies: list[PublishedPolicy], client: Client) -> PolicyCatalog:
    for each in policies:
        await put(client, each)
    catalog = RedisCatalog(client, Heard())
    await catalog.start()
    return catalog


@pytest.mark.parametrize("kind", [in_memory, in_redis])
async def test_a_catalogue_knows_what_is_live_and_where_evidence_lies(kind: Callable[..., Any], clean_store: Store) -> None:
    first, second, other = policy(), policy(intercept=True), policy(plan(), name="a_first")
    async with client_of(clean_store) as client:
        catalog: PolicyCatalog = await kind([first, second, other], client)
        assert catalog.names() == ("a_first", "p")
        live = catalog.live(P)
        assert live is not None
        assert (live.spec, live.namespace, live.dimension) == (second.spec, second.namespace, 3)
        assert catalog.live(PolicyName("q")) is None
        assert catalog.namespaces(P) == (first.namespace, second.namespace)
        assert catalog.namespaces(PolicyName("q")) == ()
        earlier = await catalog.by_namespace(first.namespace)
        assert earlier is not None
        assert earlier.spec == first.spec
        assert await catalog.by_namespace(Namespace("nowhere")) is None
        assert catalog.live(PolicyName("a_first")) == other


async def test_a_namespace_that_several_versions_share_is_answered_by_the_live_one(clean_valkey: EmbeddedServer) -> None:
    async with client_of(clean_valkey) as client:
        await put(client, policy(alpha=1))
        await put(client, policy(alpha=2))
        await put(client, policy(alpha=3), go_live=False)
        catalog = RedisCatalog(client, Heard())
        await catalog.start()
        found = await catalog.by_namespace(policy().namespace)
        assert found is catalog.live(P)
        assert found is not None
        assert (found.version, found.spec.alpha) == (2, 2)


async def test_replicas_take_up_a_publication_within_two_seconds(clean_store: Store) -> None:
    async with client_of(clean_store) as client, following(client) as one, following(client) as two:
        assert one.names() == two.names() == ()
        await put(client, policy(), policy(plan(), name="q"))
        await within(TAKEN_UP_S, lambda: one.names() == two.names() == ("p", "q"))
        await put(client, policy(alpha=5))
        await within(TAKEN_UP_S, lambda: [c.live(P).spec.alpha for c in (one, two)] == [5, 5])  # type: ignore[union-attr]


async def test_a_policy_follows_the_newest_plan_of_its_signature_and_no_other(clean_valkey: EmbeddedServer) -> None:
    async with client_of(clean_valkey) as client, following(client) as catalog:
        await put(client, policy(plan(ttl_s=60)))
        await within(WAIT_S, lambda: catalog.live(P) is not None)
        rev = await publish_plans(client, 1, [plan(ttl_s=90)])
        await within(WAIT_S, lambda: catalog.live(P).plan == plan(ttl_s=90))  # type: ignore[union-attr]
        await publish_plans(client, rev, [plan({**TYPES, "age": "int64"})])
        await within(WAIT_S, lambda: catalog._snapshot.published.plans_rev == rev + 1)
        assert catalog.live(P).plan == plan(ttl_s=90)  # type: ignore[union-attr]


async def test_a_plan_that_no_longer_fits_its_policy_is_not_followed(clean_valkey: EmbeddedServer) -> None:
    """A text is no part of a vector, so a plan without it has the same signature; the policy that takes its arms from it needs it."""
    async with client_of(clean_valkey) as client:
        heard = Heard()
        await put(client, policy(plan(), arm={"feature": "kind"}))
        async with following(client, heard) as catalog:
            await publish_plans(client, 1, [plan({"age": "float64", "urgent": "bool"})])
            await within(WAIT_S, lambda: bool(heard))
            assert catalog.live(P).plan == plan()  # type: ignore[union-attr]
    assert "no feature kind" in heard[0][1]["error"]


async def test_plans_published_again_are_no_news(clean_valkey: EmbeddedServer) -> None:
    async with client_of(clean_valkey) as client:
        assert await publish_plans(client, 0, [plan()]) == 1
        assert await publish_plans(client, 1, [plan()]) == 1
        assert await publish_plans(client, 1, [plan(ttl_s=1)]) == 2


async def test_a_removed_service_is_no_longer_offered_but_still_served(clean_valkey: EmbeddedServer) -> None:
    async with client_of(clean_valkey) as client:
        await put(client, policy(plan()))
        await publish_plans(client, 1, [], removed=["tasks_v1"])
        published = await load(client)
        assert published.plans == {}
        assert published.live(P).policy.plan == plan()  # type: ignore[union-attr]


async def test_of_publications_from_the_same_reading_one_wins_and_none_mixes(clean_store: Store) -> None:
    async with client_of(clean_store) as client:
        published = await load(client)

        async def publish(i: int) -> int:
            changes = [propose(published, policy(name=name, alpha=i), at=1.0, go_live=True) for name in ("p", "q")]
            return await publish_policies(client, published.policies_rev, changes)

        answers = await asyncio.gather(*(publish(i) for i in range(1, 9)), return_exceptions=True)
        (winner,) = [i for i, answer in enumerate(answers, 1) if answer == 1]
        assert sum(isinstance(answer, PublishedMeanwhile) for answer in answers) == 7
        now = await load(client)
        assert [now.live(PolicyName(name)).policy.spec.alpha for name in ("p", "q")] == [winner, winner]  # type: ignore[union-attr]
        assert [len(versions) for versions in now.versions.values()] == [1, 1]


@pytest.mark.parametrize(
    "broken",
    ["not json", "{}", json.dumps({"spec": {"name": "p", "unknown": 1}, "namespace": "n", "plan": None}), '{"plan": {"service": "x"}}'],
)
async def test_a_record_that_cannot_be_read_leaves_the_last_good_version_serving(clean_valkey: EmbeddedServer, broken: str) -> None:
    heard = Heard()
    with redis.Redis(port=clean_valkey.port) as direct:
        async with client_of(clean_valkey) as client, following(client, heard) as catalog:
            await put(client, policy(alpha=1), policy(name="q"))
            await within(WAIT_S, lambda: catalog.names() == ("p", "q"))
            direct.hset("ooml:policies", mapping={"p@2": broken, "p": json.dumps({"live": 2, "latest": 2, "since": 0, "reason": ""})})
            direct.hincrby("ooml:policies", "@rev", 1)
            await within(WAIT_S, lambda: bool(heard))
            assert catalog.live(P).version == 1  # type: ignore[union-attr]
            await put(client, policy(name="q", alpha=9))
            await within(WAIT_S, lambda: catalog.live(PolicyName("q")).spec.alpha == 9)  # type: ignore[union-attr]
            assert catalog.live(P).version == 1  # type: ignore[union-attr]
            await put(client, policy(alpha=3))
            await within(WAIT_S, lambda: catalog.live(P).version == 3)  # type: ignore[union-attr]
    assert [event for event, _ in heard] == ["published record cannot be read"]
    assert heard[0][1]["record"] == "ooml:policies p@2"


@pytest.mark.parametrize("field", ["p", "p@1"])
async def test_a_record_broken_in_place_keeps_its_meaning(clean_valkey: EmbeddedServer, field: str) -> None:
    with redis.Redis(port=clean_valkey.port) as direct:
        async with client_of(clean_valkey) as client:
            await put(client, policy())
            heard = Heard()
            async with following(client, heard) as catalog:
                direct.hset("ooml:policies", field, "[")
                direct.hincrby("ooml:policies", "@rev", 1)
                await within(WAIT_S, lambda: bool(heard))
                assert catalog.live(P) == policy()
                assert catalog.namespaces(P) == (policy().namespace,)


async def test_a_catalogue_outlives_its_redis_and_catches_up(tmp_path: Path) -> None:
    heard = Heard()
    with EmbeddedServer(tmp_path) as server:
        async with client_of(server) as client:
            await put(client, policy(alpha=1))
            async with following(client, heard) as catalog:
                server.kill()
                await within(WAIT_S, lambda: bool(heard))
                assert catalog.live(P).spec.alpha == 1  # type: ignore[union-attr]
                with pytest.raises(Unavailable):
                    await catalog.by_namespace(Namespace("nowhere"))
                server.start()
                await put(client, policy(alpha=2))
                await within(WAIT_S, lambda: catalog.live(P).spec.alpha == 2)  # type: ignore[union-attr]
    assert [event for event, _ in heard] == ["published policies cannot be followed", "published policies are followed again"]


async def test_a_namespace_published_a_moment_ago_is_asked_for(clean_valkey: EmbeddedServer) -> None:
    async with client_of(clean_valkey) as client:
        catalog = RedisCatalog(client, Heard())
        await catalog.start()
        await put(client, policy())
        assert catalog.live(P) is None
        assert await catalog.by_namespace(policy().namespace) == policy()


async def test_a_hash_that_is_none_is_survived(clean_valkey: EmbeddedServer) -> None:
    heard = Heard()
    with redis.Redis(port=clean_valkey.port) as direct:
        async with client_of(clean_valkey) as client, following(client, heard) as catalog:
            await put(client, policy())
            await within(WAIT_S, lambda: catalog.live(P) is not None)
            kept = direct.dump("ooml:policies")
            direct.set("ooml:policies", "?")
            await within(WAIT_S, lambda: len(heard) == 1)
            assert catalog.live(P) == policy()
            direct.restore("ooml:policies", 0, kept, replace=True)
            await put(client, policy(alpha=4))
            await within(WAIT_S, lambda: catalog.live(P).spec.alpha == 4)  # type: ignore[union-attr]


async def test_many_questions_at_once_share_their_looks_at_redis(clean_valkey: EmbeddedServer) -> None:
    with redis.Redis(port=clean_valkey.port) as direct:
        async with client_of(clean_valkey) as client:
            catalog = RedisCatalog(client, Heard())
            await catalog.start()
            before = direct.info("commandstats")["cmdstat_hget"]["calls"]
            await asyncio.gather(*(catalog.by_namespace(Namespace(f"unknown{i}")) for i in range(100)))
            after = direct.info("commandstats")["cmdstat_hget"]["calls"]
    assert after - before <= 4
