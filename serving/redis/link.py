"""One connection on which many commands are under way at once: what makes a round trip cheap.

redis-py connects, so that credentials, database and TLS are its business; then its connection is ours, and commands are written and
answers parsed without a task, a lock or a timer each. Commands of one turn of the event loop leave in one write, and answers that arrive
together are read together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Self

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, InvalidResponse, TimeoutError

Argument = str | bytes | int | float


class LinkedRedis(Redis):
    """A client of one node that also has one shared connection: opened when it is first used, and again after it broke."""

    _wire: Wire | None = None
    _connecting: asyncio.Task[Wire] | None = None

    async def call(self, *command: Argument) -> Any:
        """The answer to a command, over the shared connection. Nothing is ever sent twice.

        Raises:
            redis.exceptions.ConnectionError, TimeoutError: whether the command took effect is not known.
            redis.exceptions.ResponseError: the server's own.
        """
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._connected()
        return await wire.send(hiredis.pack_command(command))  # type: ignore[arg-type]  # its types know tuples of one

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.close()
        await super().aclose(close_connection_pool)

    async def _connected(self) -> Wire:
        """Connect, once for all who wait; those who cease to wait leave the others waiting."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(Wire.connect(self.connection_pool.make_connection()))  # type: ignore[no-untyped-call]
            self._connecting.add_done_callback(self._connection_made)
        return await asyncio.shield(self._connecting)

    def _connection_made(self, done: asyncio.Task[Wire]) -> None:
        self._connecting = None
        if not done.cancelled() and done.exception() is None:
            self._wire = done.result()


class Wire(asyncio.Protocol):
    """A connection that redis-py opened, taken over; given up when an answer takes longer than the client's socket timeout."""

    def __init__(self, connection: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s: float = connection.socket_timeout
        self._under_way: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._answers = hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser().parse_error)
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self.lost = False
        # Kept because a stream writer that nobody holds closes its transport.
        self._writer = connection._writer
        connection._writer = connection._reader = None
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)

    @classmethod
    async def connect(cls, connection: Any) -> Self:
        """Open a connection of redis-py's, and take it over."""
        await connection.connect()
        return cls(connection)

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Write a command, with all others of this turn of the loop; its answer to come."""
        if self.lost:
            raise ConnectionError("the connection was lost")
        answer = self._loop.create_future()
        now = self._loop.time()
        self._under_way.append((now, answer))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._timeout_s, self._look)
        return answer

    def close(self) -> None:
        """Close, and fail what is under way."""
        self._give_up(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Answers come in the order of the commands; whoever ceased to wait for one is passed over."""
        self._answers.feed(data)
        try:
            while (answer := self._answers.gets()) is not False:
                _, future = self._under_way.popleft()
                if not future.done():
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        except (InvalidResponse, IndexError) as error:
            self._give_up(ConnectionError(f"the server answered what nobody can read: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whether what was under way took effect is not known."""
        self._give_up(ConnectionError("the connection was lost"))

    def _flush(self) -> None:
        """Write what this turn of the loop had to say: a system call costs as much as all else of a command."""
        if not self.lost:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        """Give up once the oldest command has waited too long; one timer watches them all."""
        self._watch = None
        if self._under_way:
            due = self._under_way[0][0] + self._timeout_s
            if due <= self._loop.time():
                self._give_up(TimeoutError("no answer in time"))
            else:
                self._watch = self._loop.call_at(due, self._look)

    def _give_up(self, error: Exception) -> None:
        self.lost = True
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        waiting, self._under_way = self._under_way, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)
