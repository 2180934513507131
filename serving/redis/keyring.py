"""API keys in Redis: the hash ``ooml:keys``, id → key as JSON, with a revision (``@rev``) that grows with every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from serving.access.keys import Key, KeyId, from_json, to_json
from serving.following import Report, follow
from serving.ports import Unavailable
from serving.redis.connect import Client
from serving.redis.errors import unavailable
from serving.redis.link import Command, slot_of
from serving.redis.scripts import PUBLISH

KEYS = "ooml:keys"
REV = "@rev"


class Reading(NamedTuple):
    """All keys, as of one moment. One that cannot be read is left out: it lets nobody in."""

    revision: int
    keys: Mapping[KeyId, Key]
    unreadable: frozenset[str]


async def load(client: Client) -> Reading:
    """All keys.

    Raises:
        Unavailable.
    """
    with unavailable():
        raw: Mapping[bytes, bytes] = await client.hgetall(KEYS)  # type: ignore[misc]  # redis-py says it may not be awaitable
    keys: dict[KeyId, Key] = {}
    unreadable = set()
    for name, record in raw.items():
        if (key_id := name.decode(errors="replace")) != REV:
            try:
                keys[KeyId(key_id)] = from_json(KeyId(key_id), record.decode())
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                unreadable.add(key_id)
    return Reading(int(raw.get(REV.encode(), 0)), MappingProxyType(keys), frozenset(unreadable))


async def change(client: Client, edit: Callable[[Mapping[KeyId, Key]], list[Key]]) -> list[Key]:
    """Put keys in the place of those of the same id, all in one step; what was put.

    Args:
        edit: from the keys there are to those to put; asked again when somebody else changed them meanwhile.

    Raises:
        Unavailable, and what ``edit`` raises: then nothing is changed.
    """
    while True:
        now = await load(client)
        put = edit(now.keys)
        if not put:
            return put
        words = [word for key in put for word in (key.id, to_json(key))]
        with unavailable():
            if await PUBLISH.run(client, [KEYS], [now.revision, *words]) >= 0:
                return put


class RedisKeyring:
    """`serving.access.keys.Keyring` over Redis.

    Args:
        report: told of what goes wrong, once, and not again until it changes.
        timeout_s: how long one look at Redis may take.
    """

    def __init__(self, client: Client, report: Report, *, timeout_s: float = 1.0) -> None:
        self._client = client
        self._report = report
        self._timeout_s = timeout_s
        self._read = Reading(0, MappingProxyType({}), frozenset())

    @property
    def keys(self) -> Mapping[KeyId, Key]:
        """See `Keyring.keys`."""
        return self._read.keys

    async def refresh(self) -> None:
        """Take up the keys there are now: one round trip when nothing is new, a second when something is.

        Raises:
            Unavailable: Redis did not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if await self._revision() != self._read.revision:
                    self._take_up(await load(self._client))
        except TimeoutError as error:
            raise Unavailable("the store did not answer in time") from error

    async def follow(self, every_s: float = 0.3) -> NoReturn:
        """Keep up with Redis until cancelled; while it is away, go on with what was last read."""
        await follow("API keys", self.refresh, every_s, self._report)

    async def _revision(self) -> int:
        with unavailable():
            (found,) = await self._client.ask([Command(slot_of(KEYS), ("HGET", KEYS, REV))])
            if isinstance(found, Exception):
                raise found
        return int(found or 0)

    def _take_up(self, read: Reading) -> None:
        for key_id in read.unreadable - self._read.unreadable:
            self._report("API key cannot be read and lets nobody in", key=key_id)
        self._read = read
