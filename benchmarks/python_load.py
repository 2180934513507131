"""The generator that is always there: a Python loop. Its own time is in every latency it reports, and it takes a core from the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import numpy as np
import uvloop
from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks.load import DEADLINE_S, TIMEOUT_S, Answers, BenchmarkError, Load, Message

Call = Callable[[int, Message], Awaitable[bytes]]
"""Makes call k, of a message, and returns its reply."""


@dataclass(frozen=True, slots=True)
class PythonLoop:
    """Sends anything, slowly."""

    name: str = "python"

    def can(self, load: Load) -> bool:
        """Anything."""
        return True

    def send(self, address: str, load: Load) -> Answers:
        """See `Generator`."""
        try:
            return uvloop.run(_send(address, load))
        except ExceptionGroup as errors:
            raise BenchmarkError(str(errors.exceptions[0])) from errors


async def _send(address: str, load: Load) -> Answers:
    seconds, late_s = np.zeros((2, load.calls))
    replies = [b""] * load.calls
    async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as stack:
        calls = [await _connect(stack, address, load) for _ in range(load.connections)]

        async def one(k: int, start: float) -> None:
            late_s[k] = time.perf_counter() - start
            replies[k] = await calls[k % len(calls)](k, load.messages[k % len(load.messages)])
            seconds[k] = time.perf_counter() - start
            if not replies[k]:
                raise BenchmarkError(f"call {k} got an empty reply")

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            if load.rate is None:
                waiting = iter(range(load.calls))
                for _ in range(load.in_flight):
                    group.create_task(_place(waiting, one))
            else:
                starts = began + np.cumsum(np.random.default_rng(load.seed).exponential(1 / load.rate, load.calls))
                for k, start in enumerate(starts.tolist()):
                    # The loop's clock counts milliseconds, and may wake us too soon.
                    while (early := start - time.perf_counter()) > 0:  # noqa: ASYNC110  nothing but time is waited for
                        await asyncio.sleep(early)
                    group.create_task(one(k, start))
        return Answers(seconds, replies, time.perf_counter() - began, None if load.rate is None else late_s)


async def _place(waiting: Iterator[int], one: Callable[[int, float], Awaitable[None]]) -> None:
    for k in waiting:
        await one(k, time.perf_counter())


async def _connect(stack: AsyncExitStack, address: str, load: Load) -> Call:
    if load.protocol == "http":
        return await _posts(stack, address)
    # Channels with the same options share one connection unless told not to.
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]))
    if load.protocol == "stream":
        return await _stream(stack, channel, load.messages[0].method)

    async def call(_: int, message: Message) -> bytes:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(message.method)
        return await method(message.body, timeout=DEADLINE_S)

    return call


async def _stream(stack: AsyncExitStack, channel: grpc.aio.Channel, method: str) -> Call:
    opened = channel.stream_stream(method, pb.ScoreStreamRequest.SerializeToString, pb.ScoreStreamResponse.FromString)()
    waiting: dict[int, asyncio.Future[bytes]] = {}
    writing = asyncio.Lock()  # gRPC fails a write that begins before another of the stream has ended

    async def receive() -> None:
        async for reply in opened:
            answered = waiting.pop(reply.sequence)
            if reply.HasField("error"):
                answered.set_exception(BenchmarkError(f"refused: {reply.error.message}"))
            else:
                answered.set_result(reply.response.SerializeToString())

    receiving = asyncio.create_task(receive())
    stack.callback(receiving.cancel)

    async def call(k: int, message: Message) -> bytes:
        waiting[k] = asyncio.get_running_loop().create_future()
        answered = waiting[k]
        async with writing:
            await opened.write(pb.ScoreStreamRequest(sequence=k, request=pb.ScoreRequest.FromString(message.body)))
        return await asyncio.wait_for(answered, DEADLINE_S)

    return call


async def _posts(stack: AsyncExitStack, address: str) -> Call:
    """HTTP/1.1 carries one call at a time on a connection: as many are opened as are needed at once, and kept."""
    host, _, port = address.rpartition(":")
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(_: int, message: Message) -> bytes:
        if free:
            reader, writer = free.pop()
        else:
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
        head = [
            f"POST {message.method} HTTP/1.1",
            f"host: {address}",
            "content-type: application/json",
            f"content-length: {len(message.body)}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + message.body)
        said = await reader.readuntil(b"\r\n\r\n")
        size = int(said.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        reply = await reader.readexactly(size)
        if not said.startswith(b"HTTP/1.1 200"):
            raise BenchmarkError(f"{said.splitlines()[0].decode()}: {reply[:200]!r}")
        free.append((reader, writer))
        return reply

    return call
