"""A durable place on JetStream."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import nats.errors
from nats.js.api import ConsumerConfig

from events.bus import Delivery
from events.headers import message_of
from events.jetstream_link import Link

_RESETS = (2, 14)
"""Servers from that version on can be told to deliver again at once what was not done; older ones do after a while."""
_BYTES_AT_ONCE = 64 << 20
_NS = 1_000_000_000
_NO_MORE = ("404", "408")
_FULL = ("Batch Completed", "Message Size Exceeds MaxBytes")
_STILL_THERE = "100"
_READER = "ooml-reader"
"""Metadata of a consumer: who reads."""


class JetStreamSubscription:
    """A durable consumer, pulled from. One acknowledgement says that a message and all before it are done: `done` sends one a call.

    For that it knows which messages are still open. Whenever it is bound anew (the connection broke, the broker lost its data, somebody
    else read under its name) it starts from what the broker knows to be done: the rest comes again, and what came before is forgotten.

    Args:
        linked: the bus' connection.
        stream: which keeps its subjects.
        consumer: as it is made where it is not there.
        timeout_s: how long the broker may be silent.
    """

    def __init__(
        self, linked: Callable[[], AbstractAsyncContextManager[Link]], stream: str, consumer: ConsumerConfig, timeout_s: float
    ) -> None:
        self._linked, self._stream, self._consumer, self._timeout_s = linked, stream, consumer, timeout_s
        self._link: Link | None = None
        self._inbox = self._reader = ""
        self._turn = asyncio.Lock()
        self._bound = 0
        self._delivered = 0
        self._open: dict[int, str] = {}
        self._done: dict[int, str] = {}
        self._came: list[Any] = []
        self._numbers = itertools.count()
        self._asked = _Asked(next(self._numbers), 0)

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """See `Subscription`."""
        clock = asyncio.get_running_loop().time
        until = clock() + wait_s
        async with self._linked() as link:
            if link is not self._link:
                await self.bind(link)
            while True:
                await self._ask(link, most)
                if self._came:
                    if found := await self._take(link, most):
                        return found
                elif (left_s := until - clock()) > 0:
                    await self._ask(link, 1, left_s)
                else:
                    return []

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription`."""
        for delivery in deliveries:
            token = delivery.token
            if isinstance(token, _Token) and token.bound == self._bound and token.sequence in self._open:
                self._done[token.sequence] = self._open.pop(token.sequence)
        async with self._linked() as link, self._turn:  # no acknowledgement of what came before, while it is bound anew
            first_open = min(self._open, default=None)
            settled = [sequence for sequence in self._done if first_open is None or sequence < first_open]
            if not settled or link is not self._link:
                return  # of what came on another connection, all that is not done comes again on this one
            if not await self._is_ours(link):
                self._link = None  # to be bound anew
                return
            await link.ask(self._done[max(settled)])
            for sequence in settled:
                del self._done[sequence]

    async def bind(self, link: Link) -> None:
        """Begin on a connection, with what is not done.

        Raises:
            FAILURES.
        """
        async with self._turn:
            if link is not self._link:
                self._inbox = await link.listen(self._hear)
            self._reader = secrets.token_hex(8)
            info = await link.answer(link.jetstream.add_consumer(self._stream, self._consumer.evolve(metadata={_READER: self._reader})))
            if link.version >= _RESETS:
                info = (await link.answer(link.jetstream.reset_consumer(self._stream, str(self._consumer.name)))).info
            self._delivered = info.delivered.consumer_seq if info.delivered else 0
            self._bound += 1
            self._came.clear()
            self._open.clear()
            self._done.clear()
            self._link = link

    async def _is_ours(self, link: Link) -> bool:
        """Whether nobody took the place over: what he was given, and we were not, an acknowledgement of ours might cover."""
        info = await link.answer(link.jetstream.consumer_info(self._stream, str(self._consumer.name)))
        return (info.config.metadata or {}).get(_READER) == self._reader

    async def _ask(self, link: Link, most: int, wait_s: float = 0.0) -> None:
        """Let come what is there, or the first that come within the time, up to so many."""
        self._asked = asked = _Asked(next(self._numbers), most)
        if len(self._came) >= most:  # in answer to a request that was given up
            return
        request: dict[str, object] = {"batch": most - len(self._came), "max_bytes": _BYTES_AT_ONCE}
        request |= {"expires": int(wait_s * _NS)} if wait_s else {"no_wait": True}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer.name}"
        await link.send(subject, json.dumps(request).encode(), f"{self._inbox}.{asked.number}")
        await link.heard(asked.answered, lambda: asked.heard_at, wait_s + self._timeout_s)
        if asked.error is not None:
            raise asked.error

    async def _take(self, link: Link, most: int) -> list[Delivery]:
        """Of what came: all but what comes again though it is done."""
        came, self._came = self._came[:most], self._came[most:]
        places = [_Place.of(message.reply) for message in came]
        if any(place.delivery != expected for expected, place in enumerate(places, self._delivered + 1)):
            # What came in between went to somebody else who reads under this name. The acknowledgement of a later one would cover it.
            await self.bind(link)
            return []
        self._delivered += len(came)
        deliveries = []
        for message, (sequence, _) in zip(came, places, strict=True):
            if sequence in self._done:
                self._done[sequence] = message.reply
                continue
            self._open[sequence] = message.reply
            deliveries.append(Delivery(message_of(message.subject, message.data, message.headers), _Token(self._bound, sequence)))
        return deliveries

    async def _hear(self, message: Any) -> None:
        asked = self._asked
        if message.reply:  # a message that is kept is to be acknowledged; the others are what the broker says itself
            self._came.append(message)
            asked.hear(enough=len(self._came) >= asked.most)
        elif message.subject == f"{self._inbox}.{asked.number}":
            headers = message.headers or {}
            asked.hear_status(headers.get("Status", ""), headers.get("Description", "").strip())


class _Token(NamedTuple):
    """Which message it was: `sequence` in the stream, as it came since the subscription was bound for the `bound`-th time."""

    bound: int
    sequence: int


class _Place(NamedTuple):
    """What JetStream tells of a message: its number in the stream, and the how manyth delivery of this consumer it is."""

    sequence: int
    delivery: int

    @classmethod
    def of(cls, reply: str) -> _Place:
        """From where it is acknowledged: ``$JS.ACK.[domain.account.]stream.consumer.times.sequence.delivery.time.pending[.more]``."""
        words = reply.split(".")
        at = 5 if len(words) == 9 else 7
        return cls(int(words[at]), int(words[at + 1]))


class _Asked:
    """One request for messages."""

    def __init__(self, number: int, most: int) -> None:
        loop = asyncio.get_running_loop()
        self.number, self.most = number, most
        self.answered: asyncio.Future[None] = loop.create_future()
        self.error: Exception | None = None
        self.heard_at = loop.time()
        self._clock = loop.time

    def hear(self, *, enough: bool) -> None:
        """A message came."""
        self.heard_at = self._clock()
        if enough and not self.answered.done():
            self.answered.set_result(None)

    def hear_status(self, status: str, why: str) -> None:
        """The broker says that these are all, or why there are none."""
        self.heard_at = self._clock()
        if self.answered.done() or status == _STILL_THERE:
            return
        if status not in _NO_MORE and why not in _FULL:
            self.error = nats.errors.Error(f"no messages: {status} {why}")
        self.answered.set_result(None)
