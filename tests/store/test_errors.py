"""What becomes of a driver's errors."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from cli.embedded import EmbeddedServer
from serving.ports import Query, Unavailable
from serving.redis.connect import connect
from serving.redis.errors import unavailable
from serving.redis.store import RedisDecisionStore
from tests.store.build import S, policy


def test_a_connection_lost_the_moment_it_is_written_to_is_a_store_that_cannot_be_reached(valkey: EmbeddedServer) -> None:
    async def write_to_a_lost_connection() -> None:
        async with Redis(port=valkey.port, single_connection_client=True) as client:
            await client.set("k", 1)
            writer = client.connection and client.connection._writer
            assert isinstance(writer, asyncio.StreamWriter)
            writer.transport.abort()
            await asyncio.sleep(0)  # a turn of the loop, in which it closes
            with pytest.raises(Unavailable) as raised, unavailable():
                await client.set("k", 1)
            assert isinstance(raised.value.__cause__, ConnectionError)
            assert await client.set("k", 1)

    uvloop.run(write_to_a_lost_connection())


async def test_a_database_the_server_does_not_have_is_a_store_that_is_unavailable(valkey: EmbeddedServer) -> None:
    client = connect(valkey.url.removesuffix("/0") + "/99", cluster=False, timeout_s=5.0)
    async with client:
        (answer,) = await RedisDecisionStore(client).read([Query(policy(), S, (), (), None)])
    assert isinstance(answer, Unavailable)
    assert str(answer) == "the store has no database of the number in its URL"
