"""redis-py's clients of one node and of a cluster, each with one shared connection to a node for what is on the way of a call."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

from serving.redis.wire import Argument, Wire, Words

_REDIRECTIONS = (MovedError, AskError, TryAgainError, ClusterDownError)
_LOST = (ConnectionError, TimeoutError)


class Command(NamedTuple):
    """What is asked.

    Args:
        slot: its keys lie in.
        words: the command and its arguments.
        process_at: place of the word that is the id of the process that answers (`Wire.process`); None: it need not be told.
    """

    slot: int
    words: Words
    process_at: int | None = None

    def to(self, process: str) -> Words:
        """The words for a process of that id."""
        at = self.process_at
        return self.words if at is None else (*self.words[:at], process, *self.words[at + 1 :])


class Link(Protocol):
    """Sends several commands in one round trip."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, in order, errors as they are; nothing is ever sent twice.

        Where there is no answer, a ConnectionError or TimeoutError stands for it: whether the command took effect is not known.
        """


class Line:
    """A shared connection to one server: opened when it is first used, and again after it broke."""

    def __init__(self, make_connection: Callable[[], Any]) -> None:
        self._make_connection = make_connection
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[Wire] | None = None

    async def connected(self) -> Wire:
        """The connection, made once for all who wait; those who cease to wait leave the others waiting.

        Raises:
            redis.exceptions.ConnectionError, TimeoutError.
        """
        if self._wire is not None and not self._wire.lost:
            return self._wire
        if self._connecting is None:
            self._connecting = asyncio.create_task(Wire.connect(self._make_connection()))
            self._connecting.add_done_callback(self._made)
        return await asyncio.shield(self._connecting)

    def close(self) -> None:
        """Close the connection, and fail what is under way."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.close()

    def _made(self, done: asyncio.Task[Wire]) -> None:
        self._connecting = None
        if not done.cancelled() and done.exception() is None:
            self._wire = done.result()


class LinkedRedis(Redis):
    """A client of one node."""

    _line: Line | None = None

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """See `Link`."""
        if self._line is None:
            self._line = Line(self.connection_pool.make_connection)
        try:
            wire = await self._line.connected()
        except (RedisError, OSError) as error:
            return [error] * len(commands)
        return await wire.send([command.to(wire.process) for command in commands])

    async def call(self, *words: Argument) -> Any:
        """The answer to one command, over the shared connection.

        Raises:
            redis.exceptions.RedisError.
        """
        (answer,) = await self.ask([Command(0, words)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        if self._line is not None:
            self._line.close()
        await super().aclose(close_connection_pool)


class LinkedCluster(RedisCluster):
    """A client of a cluster. redis-py knows which node has which slot, and follows whatever has moved."""

    _lines: dict[str, Line] | None = None
    _stale = False

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """See `Link`. A command that was sent elsewhere, and so did nothing, is sent where it belongs."""
        answers: list[Any] = [None] * len(commands)
        try:
            parts = await self._by_node(commands)
        except (RedisError, OSError) as error:
            return [error] * len(commands)
        under_way = []
        for node, places in parts:
            try:
                wire = await self._line(node).connected()
            except (RedisError, OSError) as error:
                self._settle(answers, places, [error] * len(places))
            else:
                under_way.append((places, wire.send([commands[place].to(wire.process) for place in places])))
        for places, sent in under_way:
            self._settle(answers, places, await sent)
        for place, answer in enumerate(answers):
            if isinstance(answer, _REDIRECTIONS):
                try:
                    answers[place] = await self.execute_command(*commands[place].words)
                except (RedisError, OSError) as error:
                    answers[place] = error
        return answers

    async def aclose(self) -> None:
        """Close all connections."""
        for line in (self._lines or {}).values():
            line.close()
        self._lines = None
        await super().aclose()

    async def _by_node(self, commands: Sequence[Command]) -> list[tuple[ClusterNode, list[int]]]:
        """Which of the commands each node gets."""
        if self._initialize:
            await self.initialize()
        elif self._stale:
            self._stale = False
            with suppress(RedisError, OSError):  # then what was known is as good as any
                await self.nodes_manager.initialize()
        slots = self.nodes_manager.slots_cache
        places: defaultdict[str, list[int]] = defaultdict(list)
        nodes: dict[str, ClusterNode] = {}
        for place, command in enumerate(commands):
            owners = slots.get(command.slot)
            if not owners:
                raise SlotNotCoveredError(f"slot {command.slot} is not covered")  # type: ignore[no-untyped-call]
            nodes[owners[0].name] = owners[0]
            places[owners[0].name].append(place)
        return [(nodes[name], found) for name, found in places.items()]

    def _line(self, node: ClusterNode) -> Line:
        if self._lines is None:
            self._lines = {}
        if node.name not in self._lines:
            settings = {**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
            self._lines[node.name] = Line(lambda: node.connection_class(**settings))
        return self._lines[node.name]

    def _settle(self, answers: list[Any], places: Sequence[int], found: Sequence[Any]) -> None:
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
            if isinstance(answer, _LOST):
                self._stale = True  # whoever has the node's slots now is asked for before the next command


def slot_of(key: str | bytes) -> int:
    """The cluster's slot of a key."""
    return key_slot(key.encode() if isinstance(key, str) else key)
