"""Many commands under way on one connection, each answered with its own answer or an error."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, NoScriptError, ResponseError, TimeoutError

from cli.embedded import EmbeddedServer
from serving.redis.connect import connect
from serving.redis.link import LinkedRedis


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, to be killed and stopped."""
    with EmbeddedServer(tmp_path) as server:
        yield server


@asynccontextmanager
async def linked(server: EmbeddedServer, timeout_s: float = 5.0, database: int = 0) -> AsyncIterator[LinkedRedis]:
    client = connect(f"{server.url}/{database}", cluster=False, timeout_s=timeout_s)
    assert isinstance(client, LinkedRedis)
    async with client:
        yield client


async def test_each_of_many_commands_under_way_gets_its_own_answer(valkey: EmbeddedServer) -> None:
    async with linked(valkey) as link:
        texts = [str(i) * (1 + i * 97 % 5000) for i in range(1000)]
        assert await asyncio.gather(*(link.call("ECHO", text) for text in texts)) == [text.encode() for text in texts]


async def test_no_commands_are_no_answers_and_take_nobody_else_s(valkey: EmbeddedServer) -> None:
    async with linked(valkey) as link:
        nothing, answer, after = await asyncio.gather(link.ask([]), link.call("PING"), link.ask([]))
        assert (nothing, answer, after) == ([], b"PONG", [])


async def test_all_of_them_share_one_connection(store: EmbeddedServer) -> None:
    async with linked(store) as link:
        before = int((await link.call("INFO", "stats")).split(b"total_connections_received:")[1].split()[0])
        await asyncio.gather(*(link.call("PING") for _ in range(100)))
        assert int((await link.call("INFO", "stats")).split(b"total_connections_received:")[1].split()[0]) == before


async def test_the_server_s_errors_are_the_caller_s_alone(valkey: EmbeddedServer) -> None:
    async with linked(valkey) as link:
        calls = [link.call("PING"), link.call("NONSENSE"), link.call("EVALSHA", "0" * 40, 0), link.call("PING")]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert (answers[0], answers[3]) == (b"PONG", b"PONG")
        assert isinstance(answers[1], ResponseError)
        assert isinstance(answers[2], NoScriptError)


async def test_who_ceases_to_wait_shifts_nobody_s_answer(valkey: EmbeddedServer) -> None:
    async with linked(valkey) as link:
        await link.call("PING")
        calls = [asyncio.create_task(link.call("ECHO", str(i))) for i in range(100)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        assert await asyncio.gather(*calls[1::2]) == [str(i).encode() for i in range(1, 100, 2)]


async def test_the_database_of_the_address_is_selected(valkey: EmbeddedServer) -> None:
    async with linked(valkey, database=3) as link:
        assert b"db=3" in await link.call("CLIENT", "INFO")


async def test_what_is_under_way_when_the_server_dies_fails_and_the_next_command_finds_it_again(store: EmbeddedServer) -> None:
    async with linked(store) as link:
        await link.call("PING")
        hold(store)
        calls = [asyncio.create_task(link.call("PING")) for _ in range(10)]
        await asyncio.sleep(0)
        store.kill()
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(answer, ConnectionError)
        with pytest.raises(ConnectionError):
            await link.call("PING")
        store.start()
        assert await link.call("PING") == b"PONG"


async def test_a_server_that_hangs_is_given_up_in_time_and_found_again(store: EmbeddedServer) -> None:
    async with linked(store, timeout_s=0.5) as link:
        await link.call("PING")
        hold(store)
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(link.call("PING") for _ in range(10)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {TimeoutError}
        with pytest.raises(TimeoutError):
            await link.call("PING")
        assert 0.99 <= asyncio.get_running_loop().time() - began < 5
        assert store.pid is not None
        os.kill(store.pid, signal.SIGCONT)
        assert await link.call("PING") == b"PONG"


async def test_who_ceases_to_wait_for_the_connection_leaves_the_others_waiting(store: EmbeddedServer) -> None:
    async with linked(store) as link:
        hold(store)
        first, second = (asyncio.create_task(link.call("PING")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert store.pid is not None
        os.kill(store.pid, signal.SIGCONT)
        assert await second == b"PONG"


async def test_a_slow_answer_is_waited_for_as_long_as_it_may_take(store: EmbeddedServer) -> None:
    """The timer that watches a first command does not cut off a later one."""
    async with linked(store, timeout_s=2.0) as link:
        for _ in range(3):
            await link.call("CLIENT", "PAUSE", "700", "WRITE")
            await link.call("SET", "k", "v")
        assert await link.call("GET", "k") == b"v"


def hold(server: EmbeddedServer) -> None:
    """Let a server hang."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
