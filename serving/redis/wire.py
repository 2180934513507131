"""One connection on which many commands are under way at once: what makes a round trip cheap.

redis-py connects, so that credentials, database and TLS are its business; then its connection is ours, and commands are written and
answers parsed without a task, a lock or a timer each. Commands of one turn of the event loop leave in one write, and answers that arrive
together are read together.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

import hiredis
from redis.exceptions import ConnectionError, InvalidResponse, RedisError, TimeoutError

Argument = str | bytes | int | float
Words = Sequence[Argument]
"""A command and its arguments."""


_RUN_ID = re.compile(rb"^run_id:([0-9a-f]+)\r?$", re.MULTILINE)


class _Burst:
    """Commands sent together, and the answers that have come so far."""

    __slots__ = ("answers", "done", "sent_at", "size")

    def __init__(self, size: int, sent_at: float, done: asyncio.Future[list[Any]]) -> None:
        self.size = size
        self.sent_at = sent_at
        self.done = done
        self.answers: list[Any] = []


class Wire(asyncio.Protocol):
    """A connection that redis-py opened, taken over; given up when an answer takes longer than the client's socket timeout."""

    def __init__(self, connection: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s: float = connection.socket_timeout
        self._under_way: deque[_Burst] = deque()
        self._answers = hiredis.Reader(protocolError=InvalidResponse, replyError=connection._parser.parse_error)
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self.lost = False
        self.process = ""
        """Id of the process at the other end, another after every restart and fail-over; empty when it does not say."""
        # Kept because a stream writer that nobody holds closes its transport.
        self._writer = connection._writer
        connection._writer = connection._reader = None
        self._transport: asyncio.Transport = self._writer.transport
        self._transport.set_protocol(self)

    @classmethod
    async def connect(cls, connection: Any) -> Self:
        """Open a connection of redis-py's, and take it over."""
        await connection.connect()
        wire = cls(connection)
        (said,) = await wire.send([("INFO", "server")])
        if wire.lost:
            raise said
        if isinstance(said, bytes) and (found := _RUN_ID.search(said)):
            wire.process = found[1].decode()
        return wire

    def send(self, commands: Sequence[Words]) -> asyncio.Future[list[Any]]:
        """Write commands, with all others of this turn of the loop; their answers to come, in order, errors as they are.

        Where there is no answer, a ConnectionError or TimeoutError stands for it: whether the command took effect is not known.
        """
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.lost or not commands:
            done.set_result([ConnectionError("the connection was lost")] * len(commands))
            return done
        now = self._loop.time()
        self._under_way.append(_Burst(len(commands), now, done))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += map(hiredis.pack_command, commands)  # type: ignore[arg-type]  # its types know tuples of one
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._timeout_s, self._look)
        return done

    def close(self) -> None:
        """Close, and fail what is under way."""
        self._give_up(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Answers come in the order of the commands; whoever ceased to wait for them is passed over."""
        self._answers.feed(data)
        try:
            while (answer := self._answers.gets()) is not False:
                burst = self._under_way[0]
                burst.answers.append(answer)
                if len(burst.answers) == burst.size:
                    self._under_way.popleft()
                    if not burst.done.done():
                        burst.done.set_result(burst.answers)
        except (InvalidResponse, IndexError) as error:
            self._give_up(ConnectionError(f"the server answered what nobody can read: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whether what was under way took effect is not known."""
        self._give_up(ConnectionError("the connection was lost"))

    def _flush(self) -> None:
        """Write what this turn of the loop had to say: a system call costs as much as all else of a command."""
        if not self.lost and not self._transport.is_closing():  # else it is about to hear that it is lost
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        """Give up once the oldest command has waited too long; one timer watches them all."""
        self._watch = None
        if self._under_way:
            due = self._under_way[0].sent_at + self._timeout_s
            if due <= self._loop.time():
                self._give_up(TimeoutError("no answer in time"))
            else:
                self._watch = self._loop.call_at(due, self._look)

    def _give_up(self, error: RedisError) -> None:
        self.lost = True
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        waiting, self._under_way = self._under_way, deque()
        for burst in waiting:
            if not burst.done.done():
                burst.done.set_result(burst.answers + [error] * (burst.size - len(burst.answers)))
