"""Keys in memory and in Redis keep the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol

import pytest
import redis

from cli.embedded import EmbeddedServer
from serving.access.keys import Key, Keyring
from serving.memory.keyring import MemoryKeyring
from serving.redis.connect import Client
from serving.redis.keyring import RedisKeyring, change, load
from tests.access.build import key
from tests.access.stores import KINDS, emptied
from tests.catalog.samples import client_of
from tests.catalog.test_catalog import Heard, within
from tests.servers import Store

TAKEN_UP_S = 2.0


class Harness(Protocol):
    @property
    def keyring(self) -> Keyring: ...

    async def put(self, key: Key) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.keyring = MemoryKeyring()

    async def put(self, key: Key) -> None:
        self.keyring.put(key)


class InRedis:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.keyring = RedisKeyring(client, Heard())

    async def put(self, key: Key) -> None:
        await change(self.client, lambda _: [key])


@pytest.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    if request.param == "memory":
        yield InMemory()
        return
    async with emptied(request) as client:
        made = InRedis(client)
        following = asyncio.create_task(made.keyring.follow())
        yield made
        following.cancel()


async def test_keys_made_changed_and_revoked_are_taken_up_within_two_seconds(harness: Harness) -> None:
    (one, _), (two, _) = key(), key(policies=["a"])
    await harness.put(one)
    await harness.put(two)
    await within(TAKEN_UP_S, lambda: harness.keyring.keys == {one.id: one, two.id: two})
    same = harness.keyring.keys
    assert harness.keyring.keys is same
    revoked = replace(one, revoked_at=1.5)
    await harness.put(revoked)
    await within(TAKEN_UP_S, lambda: harness.keyring.keys == {one.id: revoked, two.id: two})
    assert same == {one.id: one, two.id: two}


async def test_of_changes_at_once_none_is_lost(clean_store: Store) -> None:
    made = [key()[0] for _ in range(8)]
    async with client_of(clean_store) as client:

        async def put(each: Key) -> None:
            await change(client, lambda _: [each])

        await asyncio.gather(*map(put, made))
        reading = await load(client)
        assert reading.keys == {each.id: each for each in made}
        assert reading.revision == 8
        assert await change(client, lambda _: []) == []
        assert (await load(client)).revision == 8


@pytest.mark.parametrize("broken", ["", "{}", "[]", "null", "1", '{"name": "x", "digest": "short"}', "\udcff"])
async def test_a_record_that_cannot_be_read_lets_nobody_in_and_leaves_the_others(clean_valkey: EmbeddedServer, broken: str) -> None:
    (good, _), (bad, _) = key(), key()
    heard = Heard()
    with redis.Redis(port=clean_valkey.port) as direct:
        async with client_of(clean_valkey) as client:
            keyring = RedisKeyring(client, heard)
            await change(client, lambda _: [good, bad])
            await keyring.refresh()
            assert set(keyring.keys) == {good.id, bad.id}
            for _ in range(2):
                direct.hset("ooml:keys", bad.id, broken.encode(errors="surrogateescape"))
                direct.hincrby("ooml:keys", "@rev", 1)
                await keyring.refresh()
            assert keyring.keys == {good.id: good}
    told: list[tuple[str, dict[str, Any]]] = [("API key cannot be read and lets nobody in", {"key": bad.id})]
    assert heard == told
