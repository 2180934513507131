"""The bus on NATS JetStream. Connections, streams and subscriptions are made when they are needed, and made again when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from events.bus import BusUnavailable, Message, MessageTooLarge, Standing
from events.jetstream_link import FAILURES, Link
from events.jetstream_subscription import JetStreamSubscription
from events.subjects import ALL, DEAD_LETTERS, covers

STREAMS = {"SIGNALS": ALL, "DEADLETTERS": DEAD_LETTERS}
"""Which stream keeps which subjects."""

_KEPT_OTHERWISE = 10058
"""Error of JetStream: there is a stream of that name that is set up otherwise. Whoever runs the broker wants it so."""
_HEADERS_BYTES = 4096


class JetStreamBus:
    """A bus kept by NATS servers. It belongs to one event loop.

    Args:
        servers: URLs, credentials included.
        address: where they are, for messages: without credentials.
        timeout_s: how long the broker may be silent before it is said to be unavailable.
        window_s: how long it remembers ids.
        keep_s: how long it keeps messages. What is not in the table by then is still in the outbox.
        again_after_s: after how long what was delivered and not said to be done comes again.
    """

    def __init__(
        self,
        servers: Sequence[str],
        address: str,
        *,
        timeout_s: float = 5.0,
        window_s: float = 120.0,
        keep_s: float = 7 * 86_400.0,
        again_after_s: float = 60.0,
    ) -> None:
        self._again_after_s, self._timeout_s = again_after_s, timeout_s
        self._servers, self._address = servers, address
        self._window_s, self._keep_s = window_s, keep_s
        self._open: Link | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. What was not said to be done comes again."""
        if self._open is not None:
            await self._open.close()

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus`."""
        async with self.linked() as link:
            largest = link.largest - _HEADERS_BYTES
            await link.publish([message for message in messages if len(message.body) <= largest])
        if large := [message for message in messages if len(message.body) > largest]:
            raise MessageTooLarge(
                f"{len(large)} messages are larger than {self._address} takes, the first one of {large[0].subject}, {len(large[0].body)} "
                f"bytes: raise max_payload there ({link.largest} now)"
            )

    async def subscribe(self, name: str, subjects: Sequence[str]) -> JetStreamSubscription:
        """See `Bus`.

        Raises:
            ValueError: no stream keeps all of these subjects.
        """
        subscription = JetStreamSubscription(self.linked, _stream_of(subjects), self._consumer(name, subjects), self._timeout_s)
        async with self.linked() as link:
            await subscription.bind(link)
        return subscription

    async def backlog(self, name: str) -> int | None:
        """See `Bus`."""
        info = await self._info(name)
        return None if info is None else int((info.num_pending or 0) + (info.num_ack_pending or 0))

    async def standing(self, name: str) -> Standing | None:
        """See `Bus`."""
        info = await self._info(name)
        if info is None or info.ack_floor is None or info.delivered is None:
            return None
        last = info.delivered.stream_seq + (info.num_pending or 0)
        return Standing(info.ack_floor.stream_seq if info.num_ack_pending else info.delivered.stream_seq, last)

    async def _info(self, name: str) -> ConsumerInfo | None:
        """What the broker knows of a consumer."""
        async with self.linked() as link:
            for stream in STREAMS:
                with suppress(NotFoundError):
                    info: ConsumerInfo = await link.answer(link.jetstream.consumer_info(stream, name))
                    return info
        return None

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Link]:
        """The connection, opened when there is none. Whatever fails on it ends it: the next one finds out what the broker still has.

        Raises:
            BusUnavailable: whatever failed.
        """
        link = None
        try:
            async with self._opening:
                if self._open is None or self._open.ended.done():
                    self._open = None
                    self._open = await self._connected()
                link = self._open
            yield link
        except FAILURES as error:
            if link is not None:
                await link.close()
            raise BusUnavailable(f"NATS at {self._address}: {str(error) or type(error).__name__}") from error

    def _consumer(self, name: str, subjects: Sequence[str]) -> ConsumerConfig:
        return ConsumerConfig(
            name=name,
            durable_name=name,
            # It takes none that another one covers.
            filter_subjects=[one for one in dict.fromkeys(subjects) if not any(other != one and covers(other, one) for other in subjects)],
            ack_policy=AckPolicy.ALL,
            ack_wait=self._again_after_s,
            max_ack_pending=-1,
        )

    async def _connected(self) -> Link:
        link = await Link.open(self._servers, self._timeout_s)
        try:
            for name, subjects in STREAMS.items():
                await self._make_stream(link, name, subjects)
        except BaseException:
            await link.close()
            raise
        return link

    async def _make_stream(self, link: Link, name: str, subjects: str) -> None:
        """Does nothing where there is one (a broker that lost its data is found without), but that one of ours takes batches then."""
        config = StreamConfig(
            name=name,
            subjects=[subjects],
            storage=StorageType.FILE,
            max_age=self._keep_s,
            duplicate_window=self._window_s,
            allow_atomic=True,
        )
        if await _is_there(link, config):
            return
        if await _is_there(link, config.evolve(allow_atomic=False)):  # as earlier versions made it
            await link.answer(link.jetstream.update_stream(config))
        else:
            found = await link.answer(link.jetstream.stream_info(name))
            link.takes_batches &= bool(found.config.allow_atomic)


async def _is_there(link: Link, config: StreamConfig) -> bool:
    """Whether there is a stream that is set up so, made if there was none of its name."""
    try:
        await link.answer(link.jetstream.add_stream(config))
    except APIError as error:
        if error.err_code != _KEPT_OTHERWISE:
            raise
        return False
    return True


def _stream_of(subjects: Sequence[str]) -> str:
    for stream, kept in STREAMS.items():
        if all(covers(kept, subject) for subject in subjects):
            return stream
    raise ValueError(f"no stream keeps all of {', '.join(subjects)}: there is one each of {' and '.join(STREAMS.values())}")
