"""Calls are taken in by acceptors beside gRPC's own loop: by whom is told by the context that each was started in."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import grpc
import pytest

from serving.transport import acceptors
from serving.transport.acceptors import EACH, Acceptors

SERVICE, METHOD = "test.Service", "/test.Service/Method"
TAKEN_BY: ContextVar[bytes] = ContextVar("TAKEN_BY")


async def _tell(_: bytes, context: object) -> bytes:
    return TAKEN_BY.get()


@asynccontextmanager
async def _server(
    handle: Any = _tell, parse: Callable[[bytes], Any] | None = None
) -> AsyncIterator[tuple[grpc.aio.Server, Acceptors, Any]]:
    """A server, the acceptors beside it, and a function that calls its one method; stopped by the end."""
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(handle, parse)
    server.add_registered_method_handlers(SERVICE, {"Method": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    beside = Acceptors(server, {METHOD: handler})
    TAKEN_BY.set(b"gRPC")
    await server.start()
    TAKEN_BY.set(b"acceptors")
    beside.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield server, beside, channel.unary_unary(METHOD)
        finally:
            await server.stop(0)
            async with asyncio.timeout(5):
                await beside.ended()


async def test_of_all_calls_gRPCs_own_loop_takes_in_one_in_33() -> None:  # noqa: N802
    async with _server() as (_, _, call):
        told = [await call(b"") for _ in range(3 * (EACH + 1))]
    assert Counter(told) == {b"acceptors": 3 * EACH, b"gRPC": 3}
    assert told.index(b"gRPC") == EACH  # which asked last


async def test_calls_in_any_number_at_once_are_all_answered() -> None:
    async with _server() as (_, _, call):
        assert len(await asyncio.gather(*(call(b"") for _ in range(10 * EACH)))) == 10 * EACH


async def test_with_another_version_of_grpcio_its_own_loop_takes_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptors, "VERSION", "1.85.0")
    async with _server() as (_, _, call):
        assert {await call(b"") for _ in range(2 * EACH)} == {b"gRPC"}


async def test_nothing_of_a_call_that_ended_badly_is_held_until_the_next_one_comes() -> None:
    class Request:
        pass

    alive: weakref.WeakSet[Request] = weakref.WeakSet()

    def parse(_: bytes) -> Request:
        request = Request()
        alive.add(request)
        return request

    async def refuse(_: Request, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    async with _server(refuse, parse) as (_, _, call):
        for _ in range(2 * (EACH + 1)):
            with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
                await call(b"")
        async with asyncio.timeout(5):
            while len(alive) > 2:  # which gRPC's own loop holds; the last to be refused are about to end
                gc.collect()
                await asyncio.sleep(0)


async def test_calls_that_cannot_be_begun_keep_nobody_from_the_next_ones_nor_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, told = Acceptors._begin, list[type]()

    def fail_at_first(self: Acceptors, method: str, call: Any) -> None:
        if len(told) < EACH:
            raise TypeError("not what it was")
        begin(self, method, call)

    monkeypatch.setattr(Acceptors, "_begin", fail_at_first)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(type(context["exception"]))
    )  # itself, it would hold the call
    async with _server() as (_, _, call), asyncio.timeout(20):
        first = await asyncio.gather(*(call(b"", timeout=1.0) for _ in range(EACH + 1)), return_exceptions=True)
        then = [await call(b"") for _ in range(EACH + 1)]
    assert sum(isinstance(answer, grpc.aio.AioRpcError) for answer in first) == EACH
    assert Counter(then) == {b"acceptors": EACH, b"gRPC": 1}
    assert told == [TypeError] * EACH


async def test_whoever_leaves_has_their_call_cancelled() -> None:
    begun, cancelled = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def hang(_: bytes, context: object) -> bytes:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.release()
        raise AssertionError("nothing ends the wait but being cancelled")

    async with _server(hang) as (_, _, call), asyncio.timeout(5):
        calls = [call(b"") for _ in range(3)]
        for _ in calls:
            await begun.acquire()
        for one in calls:
            one.cancel()
        for _ in calls:
            await cancelled.acquire()


async def test_calls_taken_in_before_a_stop_finish_within_its_grace_and_nothing_is_left() -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(_: bytes, context: object) -> bytes:
        begun.release()
        await go_on.wait()
        return b"done"

    before = asyncio.all_tasks()
    async with _server(wait) as (server, beside, call), asyncio.timeout(10):
        calls = [asyncio.ensure_future(call(b"")) for _ in range(5)]
        for _ in calls:
            await begun.acquire()
        stopping = asyncio.create_task(server.stop(grace=5))
        await beside.ended()  # while calls are still under way
        go_on.set()
        assert [await one for one in calls] == [b"done"] * 5
        await stopping
    assert asyncio.all_tasks() == before
