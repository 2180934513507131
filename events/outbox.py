"""The shards' streams in Redis, as those read them who move events on: every entry is taken until it is said to be kept elsewhere."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from serving.ids import SHARDS
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.keys import keys_of
from serving.redis.link import Command, LinkedCluster

GROUP = "relay"
"""Of consumers, in every stream; all who read are one consumer of it: what one of them took and did not live to tell is everybody's."""
AGAIN_S = 60.0
"""After how long what was taken and is there still is taken to be lost, unless settings say otherwise."""
GATHER_S = 0.1
"""From one taking to the next, unless much waits: to look into all streams costs the store as much for one entry as for a hundred."""
_POLL_S = 0.05
_AT_ONCE = 8
"""Entries of one shard in one answer: the store does nothing else meanwhile, some 10 ms when every shard has as many."""
_MUCH = 256
"""Entries in one answer after which the next are asked for at once."""
_LOOKED_AT = 16
"""Shards in one answer."""


class Entry(NamedTuple):
    """One entry of the outbox, as it lies there.

    Args:
        shard: 0 to 255.
        id: in the shard's stream, ``milliseconds-number``.
        fields: for `serving.redis.codec.unpack_entry`.
    """

    shard: int
    id: str
    fields: Mapping[bytes, bytes]


class Look(NamedTuple):
    """The outbox as it is.

    Args:
        entries: of each shard in order.
        last: sequence number of the last entry, by shard and its epoch now: all up to it are among ``entries``, or were dropped.
        shed: decisions left out of the log of which no entry tells yet.
    """

    entries: Sequence[Entry]
    last: Mapping[tuple[int, str], int]
    shed: int


class Outbox:
    """The outbox of all shards, on one node or a cluster.

    Args:
        client: from `connect`; owned by the caller.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ready = False
        self._next_at = 0.0

    async def take(self, wait_s: float) -> list[Entry]:
        """Entries that nobody has taken yet, of each shard in order; none when none come within the time.

        Raises:
            Unavailable.
        """
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self._next_at - clock())
        take = self._take_by_slot if isinstance(self._client, LinkedCluster) else self._take_from_all
        found = await self._with_groups(take(wait_s))
        self._next_at = clock() + GATHER_S if len(found) < _MUCH else 0.0
        return found

    async def take_again(self, after_s: float) -> list[Entry]:
        """Some of the entries that were taken longer ago than that and are there still; none when there are no more.

        Raises:
            Unavailable.
        """
        return await self._with_groups(self._claim(after_s))

    async def drop(self, entries: Iterable[tuple[int, str]]) -> None:
        """Drop entries, by shard and id, that are kept elsewhere for good; some of them may be gone.

        Raises:
            Unavailable: some are dropped, some not.
        """
        ids: defaultdict[int, list[str]] = defaultdict(list)
        for shard, entry in entries:
            ids[shard].append(entry)
        commands = []
        for shard, of_shard in ids.items():
            keys = keys_of(shard)
            commands += [
                Command(keys.slot, ("XACK", keys.outbox, GROUP, *of_shard)),
                Command(keys.slot, ("XDEL", keys.outbox, *of_shard)),
            ]
        with unavailable():
            await self._ask(commands)

    async def look(self) -> Look:
        """What is there, taken or not; nothing is changed.

        Raises:
            Unavailable.
        """
        entries: list[Entry] = []
        last: dict[tuple[int, str], int] = {}
        unsaid = 0
        for first in range(0, SHARDS, _LOOKED_AT):
            shards = range(first, min(first + _LOOKED_AT, SHARDS))
            commands = []
            for keys in map(keys_of, shards):
                # The number first: what is written after it is none of this look's.
                commands += [
                    Command(keys.slot, ("HMGET", keys.sequence, "epoch", "seq", "shed")),
                    Command(keys.slot, ("XRANGE", keys.outbox, "-", "+")),
                ]
            with unavailable():
                answers = iter(await self._ask(commands))
            for shard, (epoch, seq, shed), found in zip(shards, answers, answers, strict=True):
                if epoch is not None and seq is not None:
                    last[shard, epoch.decode()] = int(seq)
                unsaid += int(shed or 0)
                entries += _entries(shard, found)
        return Look(entries, last, unsaid)

    async def depths(self) -> list[int]:
        """(256,) entries each shard holds: not taken, or not yet kept elsewhere.

        Raises:
            Unavailable.
        """
        commands = [Command(keys.slot, ("XLEN", keys.outbox)) for keys in map(keys_of, range(SHARDS))]
        with unavailable():
            return list(map(int, await self._ask(commands)))

    async def _with_groups(self, taking: Coroutine[Any, Any, list[Entry]]) -> list[Entry]:
        try:
            with unavailable():
                if not self._ready:
                    await self._begin()
                return await taking
        except ResponseError as error:
            # The streams are gone, and the groups with them: what is written from now on is found by new ones.
            if not str(error).startswith("NOGROUP"):
                raise
            self._ready = False
            return []
        finally:
            taking.close()

    async def _begin(self) -> None:
        """A group in every stream, that has read nothing."""
        answers = await self._client.ask(
            [Command(keys.slot, ("XGROUP", "CREATE", keys.outbox, GROUP, "0", "MKSTREAM")) for keys in map(keys_of, range(SHARDS))]
        )
        for answer in answers:
            if isinstance(answer, Exception) and not str(answer).startswith("BUSYGROUP"):  # it is there already
                raise answer
        self._ready = True

    async def _claim(self, after_s: float) -> list[Entry]:
        idle_ms = round(after_s * 1000)
        commands = [
            Command(keys.slot, ("XAUTOCLAIM", keys.outbox, GROUP, GROUP, idle_ms, "0", "COUNT", _AT_ONCE))
            for keys in map(keys_of, range(SHARDS))
        ]
        return [entry for shard, answer in enumerate(await self._ask(commands)) for entry in _entries(shard, answer[1])]

    async def _take_from_all(self, wait_s: float) -> list[Entry]:
        keys = [keys_of(shard).outbox for shard in range(SHARDS)]
        block = ("BLOCK", max(1, round(wait_s * 1000))) if wait_s > 0 else ()
        # On a connection of its own: this one waits.
        answer = await self._client.execute_command(
            "XREADGROUP", "GROUP", GROUP, GROUP, "COUNT", _AT_ONCE, *block, "STREAMS", *keys, *[">"] * SHARDS
        )
        shard_of = {key.encode(): shard for shard, key in enumerate(keys)}
        return [entry for key, entries in _streams(answer) for entry in _entries(shard_of[key], entries)]

    async def _take_by_slot(self, wait_s: float) -> list[Entry]:
        """Each shard by itself: on a cluster no command reaches them all, and none may block."""
        commands = [
            Command(keys.slot, ("XREADGROUP", "GROUP", GROUP, GROUP, "COUNT", _AT_ONCE, "STREAMS", keys.outbox, ">"))
            for keys in map(keys_of, range(SHARDS))
        ]
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            answers = await self._ask(commands)
            found = [e for shard, answer in enumerate(answers) for _, entries in _streams(answer) for e in _entries(shard, entries)]
            left_s = until - asyncio.get_running_loop().time()
            if found or left_s <= 0:
                return found
            await asyncio.sleep(min(_POLL_S, left_s))

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._client.ask(commands) if commands else []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def _streams(answer: Any) -> Iterator[tuple[bytes, Any]]:
    """Name and entries of each stream of an XREADGROUP's answer, which is a map or a list of pairs, by the protocol spoken."""
    if answer:
        yield from answer.items() if isinstance(answer, dict) else answer


def _entries(shard: int, found: Any) -> Iterator[Entry]:
    for entry, fields in found:
        if fields is not None:  # else it was deleted since it was taken
            yield Entry(shard, entry.decode(), fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True)))
