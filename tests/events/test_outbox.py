"""The outbox as those see it who move events on, on one node and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from events.outbox import Entry, Outbox
from serving.ids import SHARDS, shard_of
from serving.ports import PublishedPolicy, Unavailable
from serving.redis.codec import unpack_entry
from serving.redis.connect import Client, connect
from serving.redis.store import StoreSettings
from tests.servers import Store, flush
from tests.store.build import Harness, policy
from tests.store.conftest import client_of, on_redis

P = policy(default=0.5)
PEOPLE = [f"u{i}" for i in range(20)]
SOON_S, NOT_YET_S = 0.0, 60.0


class World(NamedTuple):
    """A store that somebody writes to, and readers of its outbox."""

    store: Harness
    client: Client
    outbox: Outbox


@pytest.fixture(params=["valkey", "redis_server", "redis_cluster"])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    server: Store = request.getfixturevalue(request.param)
    flush(server)
    client = client_of(server)
    yield World(on_redis(client, StoreSettings(sink="drained")), client, Outbox(client))
    await client.aclose()


def ids(entries: list[Entry]) -> list[tuple[int, str]]:
    return [(entry.shard, entry.id) for entry in entries]


def scopes(entries: list[Entry]) -> list[str]:
    return sorted(unpack_entry(entry.fields).scope for entry in entries)


async def decide(here: World, *people: str, p: PublishedPolicy = P) -> None:
    for person in people:
        await here.store.open(p, scope=person)


async def test_every_entry_is_taken_once_by_all_who_take(here: World) -> None:
    await decide(here, *PEOPLE)
    other = Outbox(here.client)
    found = [entry for batch in await asyncio.gather(here.outbox.take(0), other.take(0)) for entry in batch]
    assert scopes(found) == sorted(PEOPLE)
    assert {entry.shard for entry in found} == {shard_of(P.spec.name, unpack_entry(e.fields).scope) for e in found}
    assert await here.outbox.take(0) == []


async def test_entries_of_a_shard_come_in_order_and_few_at_a_time(here: World) -> None:
    await decide(here, *["u"] * 100)
    seqs: list[int] = []
    while found := await here.outbox.take(0):
        seqs += [unpack_entry(entry.fields).seq for entry in found]
    assert seqs == list(range(1, 101))


async def test_taking_waits_for_the_first_entry(here: World) -> None:
    await here.outbox.take(0)
    taking = asyncio.create_task(here.outbox.take(30))
    await asyncio.sleep(0)
    await decide(here, "u")
    assert scopes(await taking) == ["u"]


async def test_taking_ends_when_none_come_in_time(here: World) -> None:
    began = asyncio.get_running_loop().time()
    assert await here.outbox.take(0.15) == []
    assert 0.14 <= asyncio.get_running_loop().time() - began < 2


async def test_what_was_taken_and_not_dropped_is_taken_again(here: World) -> None:
    await decide(here, *PEOPLE)
    found = await here.outbox.take(0)
    assert await here.outbox.take_again(NOT_YET_S) == []
    assert ids(await Outbox(here.client).take_again(SOON_S)) == ids(found)


async def test_what_was_dropped_is_gone_and_the_rest_is_not(here: World) -> None:
    await decide(here, *PEOPLE)
    found = await here.outbox.take(0)
    kept = found[::3]
    await here.outbox.drop([entry for entry in ids(found) if entry not in ids(kept)])
    assert sum(await here.outbox.depths()) == len(kept)
    assert ids(await here.outbox.take_again(SOON_S)) == ids(kept)
    await here.outbox.drop(ids(found))  # once more, for some of them
    assert await here.outbox.depths() == [0] * SHARDS
    await here.outbox.drop([])


async def test_dropping_makes_room_for_what_was_refused(here: World) -> None:
    full = World(on_redis(here.client, StoreSettings(sink="drained", outbox_limit=4)), here.client, here.outbox)
    await decide(full, *["u"] * 4)
    with pytest.raises(Unavailable):
        await decide(full, "u")
    await full.outbox.drop(ids(await full.outbox.take(0)))
    await decide(full, "u")


async def test_streams_that_vanished_are_read_from_their_new_beginning(here: World, request: pytest.FixtureRequest) -> None:
    await decide(here, "u")
    await here.outbox.take(0)
    flush(request.getfixturevalue(request.node.callspec.params["here"]))
    await decide(here, "v")
    found: list[Entry] = []
    while not found:
        found = await here.outbox.take(0)
    assert scopes(found) == ["v"]


async def test_a_store_that_is_away_is_unavailable() -> None:
    client = connect("redis://127.0.0.1:1/0", cluster=False, timeout_s=1)
    away = Outbox(client)
    for call in (away.take(0), away.take_again(0), away.drop([(0, "1-1")]), away.depths()):
        with pytest.raises(Unavailable):
            await call
    await client.aclose()
