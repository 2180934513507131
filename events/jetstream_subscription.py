"""A durable place on JetStream."""

from __future__ import annotations

import asyncio
import itertools
import json
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
_OVER_SIZE = "Message Size Exceeds MaxBytes"


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
        self._inbox = ""
        self._bound = 0
        self._came = 0
        self._open: dict[int, str] = {}
        self._done: dict[int, str] = {}
        self._pulls: dict[str, _Pull] = {}
        self._numbers = itertools.count()

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """See `Subscription`."""
        async with self._linked() as link:
            if link is not self._link:
                await self.bind(link)
            found = await self._pull(link, most, 0.0)
            if not found and wait_s > 0 and (found := await self._pull(link, 1, wait_s)) and most > 1:
                found += await self._pull(link, most - 1, 0.0)
        return found

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription`."""
        for delivery in deliveries:
            token = delivery.token
            if isinstance(token, _Token) and token.bound == self._bound and token.sequence in self._open:
                self._done[token.sequence] = self._open.pop(token.sequence)
        first_open = min(self._open, default=None)
        settled = [sequence for sequence in self._done if first_open is None or sequence < first_open]
        if not settled:
            return
        async with self._linked() as link:
            if link is not self._link:
                return  # another connection: they come again there
            await link.ask(self._done[max(settled)])
        for sequence in settled:
            self._done.pop(sequence, None)

    async def bind(self, link: Link) -> None:
        """Begin on a connection, with what is not done.

        Raises:
            FAILURES.
        """
        name = str(self._consumer.name)
        if link is not self._link:
            self._inbox = await link.listen(self._hear)
        info = await link.jetstream.add_consumer(self._stream, self._consumer)
        if link.version >= _RESETS:
            info = (await link.jetstream.reset_consumer(self._stream, name)).info
        self._came = info.delivered.consumer_seq if info.delivered else 0
        self._bound += 1
        self._open.clear()
        self._done.clear()
        self._link = link

    async def _pull(self, link: Link, most: int, wait_s: float) -> list[Delivery]:
        """What is there, or what comes within the time."""
        number = str(next(self._numbers))
        pull = self._pulls[number] = _Pull(most)
        request: dict[str, object] = {"batch": most, "max_bytes": _BYTES_AT_ONCE}
        request |= {"expires": int(wait_s * _NS)} if wait_s else {"no_wait": True}
        try:
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer.name}"
            await link.send(subject, json.dumps(request).encode(), f"{self._inbox}.{number}")
            await link.heard(pull.all, lambda: pull.heard_at, wait_s + self._timeout_s)
        finally:
            del self._pulls[number]
        deliveries = []
        for message in pull.messages:
            place = _Place.of(message.reply)
            if place.delivery != self._came + 1:
                # What came in between went to somebody else, or to a `fetch` that was given up. The acknowledgement of a later one would
                # cover it.
                await self.bind(link)
                return []
            self._came = place.delivery
            if place.sequence in self._done:
                self._done[place.sequence] = message.reply
                continue
            self._open[place.sequence] = message.reply
            token = _Token(self._bound, place.sequence)
            deliveries.append(Delivery(message_of(message.subject, message.data, message.headers), token))
        return deliveries

    async def _hear(self, message: Any) -> None:
        pull = self._pulls.get(message.subject.rpartition(".")[2])
        if pull is not None:
            pull.hear(message)


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


class _Pull:
    """What comes in answer to one request."""

    def __init__(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        self.all: asyncio.Future[None] = loop.create_future()
        self.messages: list[Any] = []
        self.heard_at = loop.time()
        self._clock = loop.time
        self._most = most

    def hear(self, message: Any) -> None:
        self.heard_at = self._clock()
        if self.all.done():
            return
        if message.reply:
            self.messages.append(message)
            if len(self.messages) == self._most:
                self.all.set_result(None)
            return
        # A message of another kind than those kept, which are all to be acknowledged.
        headers = message.headers or {}
        status, why = headers.get("Status", ""), headers.get("Description", "")
        if status in _NO_MORE or why == _OVER_SIZE or self.messages:
            self.all.set_result(None)
        elif status != "100":
            self.all.set_exception(nats.errors.Error(f"no messages: {status} {why.strip()}"))
