"""A cluster whose slots move: asked where they are, and followed where they go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cli.embedded import EmbeddedServer, find_server, server_on_path
from policies.types import ScopeId
from serving.ids import shard_of
from serving.ports import RewardStatus
from serving.redis.keys import keys_of
from serving.redis.link import Command, LinkedCluster, slot_of
from tests.servers import SLOTS, Cluster, cluster
from tests.store.build import policy
from tests.store.conftest import client_of, on_redis

SCOPES = [ScopeId(f"person {n}") for n in range(30)]
"""Of shards on all nodes."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own."""
    with cluster(tmp_path, server_on_path("redis-server") or find_server()) as masters:
        yield masters


@pytest.fixture
async def link(own: Cluster) -> AsyncIterator[LinkedCluster]:
    client = client_of(own)
    assert isinstance(client, LinkedCluster)
    async with client:
        yield client


def tell(node: EmbeddedServer, *words: Any) -> Any:
    with redis.Redis(host=node.host, port=node.port) as client:
        return client.execute_command(*words)


def tag_of(own: Cluster, node: int) -> str:
    """A hash tag whose slot a node has."""
    return next(f"{{{n}}}" for n in range(1000) if slot_of(f"{{{n}}}") * len(own.nodes) // SLOTS == node)


def put(key: str, value: str) -> Command:
    """By a script, as all that the store writes."""
    return Command(slot_of(key), ("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, key, value))


def get(key: str) -> Command:
    return Command(slot_of(key), ("GET", key))


class Move:
    """A slot on its way from the first master to the second."""

    def __init__(self, own: Cluster, slot: int) -> None:
        self.own, self.slot = own, slot
        self.source, self.target, _ = own.nodes
        self.ids = {node.port: tell(node, "CLUSTER", "MYID").decode() for node in (self.source, self.target)}

    def begin(self) -> None:
        tell(self.target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.ids[self.source.port])
        tell(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.ids[self.target.port])

    def finish(self) -> None:
        keys = tell(self.source, "CLUSTER", "GETKEYSINSLOT", self.slot, 1000)
        if keys:
            tell(self.source, "MIGRATE", self.target.host, self.target.port, "", 0, 5000, "KEYS", *keys)
        for node in (self.target, self.source, self.own.nodes[2]):
            tell(node, "CLUSTER", "SETSLOT", self.slot, "NODE", self.ids[self.target.port])

    def known_to(self, link: LinkedCluster) -> int:
        """The port of the master the client believes to have the slot."""
        return int(link.nodes_manager.slots_cache[self.slot][0].port)


async def test_each_of_many_commands_gets_its_own_answer_whichever_node_it_lies_on(link: LinkedCluster) -> None:
    keys = [f"key {n}" for n in range(300)]
    assert await link.ask([put(key, key * 3) for key in keys]) == [b"OK"] * 300
    assert await link.ask([get(key) for key in reversed(keys)]) == [(key * 3).encode() for key in reversed(keys)]


async def test_a_slot_that_has_moved_is_followed_and_then_known(own: Cluster, link: LinkedCluster) -> None:
    tag, other = tag_of(own, 0), tag_of(own, 2)
    assert await link.ask([put(f"{tag}a", "1"), put(f"{other}b", "2")]) == [b"OK", b"OK"]
    move = Move(own, slot_of(tag))
    move.begin()
    move.finish()
    assert move.known_to(link) == move.source.port
    assert await link.ask([get(f"{tag}a"), get(f"{other}b"), get(f"{tag}none")]) == [b"1", b"2", None]
    assert move.known_to(link) == move.target.port
    assert await link.ask([put(f"{tag}a", "3"), get(f"{tag}a")]) == [b"OK", b"3"]


async def test_a_slot_that_is_moving_is_asked_for_on_both_of_its_nodes(own: Cluster, link: LinkedCluster) -> None:
    tag, other = tag_of(own, 0), tag_of(own, 2)
    assert await link.ask([put(f"{tag}old", "1"), put(f"{other}b", "2")]) == [b"OK", b"OK"]
    move = Move(own, slot_of(tag))
    move.begin()
    answers = await link.ask([get(f"{tag}old"), put(f"{tag}new", "3"), get(f"{other}b")])
    assert answers == [b"1", b"OK", b"2"]
    assert await link.ask([get(f"{tag}new"), get(f"{tag}old")]) == [b"3", b"1"]
    assert tell(move.source, "CLUSTER", "COUNTKEYSINSLOT", move.slot) == 1
    assert tell(move.target, "CLUSTER", "COUNTKEYSINSLOT", move.slot) == 1
    assert move.known_to(link) == move.source.port
    move.finish()
    assert await link.ask([get(f"{tag}new"), get(f"{tag}old")]) == [b"3", b"1"]
    assert move.known_to(link) == move.target.port


async def test_a_reward_is_counted_once_on_the_node_its_shard_has_moved_to(own: Cluster, link: LinkedCluster) -> None:
    at, p = on_redis(link), policy(default=0.0, aggregate="sum")
    scope = next(s for s in SCOPES if keys_of(shard_of(p.spec.name, s)).slot * 3 // SLOTS == 0)
    of = await at.open(p, scope=scope)
    await at.reward(p, of, 1.0, "first")
    move = Move(own, keys_of(shard_of(p.spec.name, scope)).slot)
    move.begin()
    move.finish()
    assert (await at.reward(p, of, 2.0, "second")).status is RewardStatus.APPLIED
    assert (await at.reward(p, of, 2.0, "second")).status is RewardStatus.DUPLICATE
    assert (await at.sums(p, scope=scope))["r"] == 3.0
    await at.open(p, scope=scope)
    assert (await at.sums(p, scope=scope))["count"] == 2
