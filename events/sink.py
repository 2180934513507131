"""Moves events from where they wait, the bus or the outbox itself, to the table; and says that they are kept only once they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import pyarrow as pa
from google.protobuf.message import DecodeError
from ooml.bandit.v1 import events_pb2 as pb

from events.bus import Bus, BusUnavailable, Delivery, Message, MessageTooLarge
from events.columns import SCHEMA, table_of
from events.identity import identity
from events.insisting import insist
from events.outbox import Outbox
from events.packed import read
from events.subjects import DEAD_LETTERS, subject_of
from events.table import EventTable, TableUnavailable, erasures_of
from serving.following import Report
from serving.ports import Unavailable

NAME = "sink"
"""Of the sink's subscription."""
MOST = 20_000
"""Events kept in one commit, about."""
WINDOW_S = 1.0
"""How long the first of them waits for the others."""
COMPACT_S = 600.0
_AWAY = (TableUnavailable, BusUnavailable, Unavailable)
_FETCH = 2_000
_TOGETHER = 1_000
"""Events made rows of together: so many fit the processor's cache."""
_NO_ROW = (ValueError, OverflowError)
"""What comes of numbers that are larger than their column's."""
_YEAR_10000_S = 253_402_300_800
_HALF_DROPPED = 100_000


class Source(Protocol):
    """Where events come from: a subscription, or the outbox itself."""

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """See `events.bus.Subscription`."""

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """See `events.bus.Subscription`."""


class _Batch(NamedTuple):
    """What is kept in one commit.

    Args:
        deliveries: all that came.
        rows: the events among them.
        dead: what is none, and why.
    """

    deliveries: Sequence[Delivery]
    rows: pa.Table
    dead: Sequence[tuple[Message, str]]


class Sink:
    """One sink; only one may be at work.

    Args:
        source: where events come from.
        table: where they are kept.
        outbox: dropped from once all events of an entry are kept.
        bus: gets what is no event as a dead letter; None: it is reported alone.
        report: told of what goes wrong, as a structlog method is.
    """

    def __init__(self, source: Source, table: EventTable, outbox: Outbox, bus: Bus | None, report: Report) -> None:
        self._source = source
        self._table = table
        self._outbox = outbox
        self._bus = bus
        self._report = report
        self._parts: dict[tuple[int, str], set[int]] = {}
        self.kept = 0
        """Events, so far, without those that were there already."""

    def progress(self) -> dict[str, int]:
        """For the log."""
        return {"kept": self.kept}

    async def run(self, window_s: float = WINDOW_S, compact_s: float = COMPACT_S) -> None:
        """Keep events until cancelled; while the table, the bus or the store is away, wait for it."""
        clock = asyncio.get_running_loop().time
        compact_at = clock() + compact_s
        gathering = asyncio.create_task(self._gather(window_s))
        try:
            while True:
                batch = await gathering
                gathering = asyncio.create_task(self._gather(window_s))
                ill, count = "events cannot be kept; they stay where they are", len(batch.deliveries)
                await insist(partial(self._keep, batch), _AWAY, self._report, ill, events=count)
                if clock() >= compact_at:
                    await self._compact()
                    compact_at = clock() + compact_s
        finally:
            gathering.cancel()

    async def step(self, window_s: float = 0.0) -> int:
        """Keep what is there now; how many events were not there already.

        Raises:
            TableUnavailable, BusUnavailable, Unavailable: what is not kept comes again.
        """
        before = self.kept
        await self._keep(_batch(await self._fetched(window_s)))
        return self.kept - before

    async def _gather(self, window_s: float) -> _Batch:
        async def gathered() -> _Batch:
            return _batch(await self._fetched(window_s))

        return await insist(gathered, (BusUnavailable, Unavailable), self._report, "events cannot be fetched")

    async def _fetched(self, window_s: float) -> list[Delivery]:
        """What comes within a time after the first, or as much as is kept at once."""
        clock = asyncio.get_running_loop().time
        deliveries = await self._source.fetch(_FETCH, max(window_s, 0.001))
        until = clock() + window_s
        while deliveries and len(deliveries) < MOST and (left_s := until - clock()) > 0:
            deliveries += await self._source.fetch(_FETCH, left_s)
        return deliveries

    async def _keep(self, batch: _Batch) -> None:
        if not batch.deliveries:
            return
        self.kept += await asyncio.to_thread(self._table.append, batch.rows)
        await asyncio.to_thread(self._table.erase, erasures_of(batch.rows))
        for message, why in batch.dead:
            await self._bury(message, why)
        # First dropped, then done: what a sink that dies in between leaves behind comes again, and is dropped again.
        await self._drop(delivery.message for delivery in batch.deliveries)
        await self._source.done(batch.deliveries)

    async def _drop(self, messages: Iterable[Message]) -> None:
        """Drop the entries all of whose events are kept by now."""
        whole: set[tuple[int, str]] = set()
        for origin in (message.origin for message in messages):
            if origin is None:
                continue
            entry = (origin.shard, origin.entry)
            parts = self._parts.setdefault(entry, set())
            parts.add(origin.part)
            if len(parts) == origin.parts:
                whole.add(entry)
        await self._outbox.drop(whole)
        for entry in whole:
            del self._parts[entry]
        while len(self._parts) > _HALF_DROPPED:  # whatever became of their other parts: the entries come again
            self._parts.pop(next(iter(self._parts)))

    async def _bury(self, message: Message, why: str) -> None:
        self._report("what is no event was put aside", subject=message.subject, why=why, dead_letters=DEAD_LETTERS)
        if self._bus is None:
            return
        letter = message._replace(subject=DEAD_LETTERS, id=f"dead-{message.id}", why=f"{message.subject}: {why}")
        try:
            await self._bus.publish([letter])
        except MessageTooLarge:
            await self._bus.publish(
                [letter._replace(body=b"", why=f"{letter.why}; its {len(message.body)} bytes are too many to put aside")]
            )

    async def _compact(self) -> None:
        try:
            await asyncio.to_thread(self._table.compact)
        except TableUnavailable as error:
            self._report("the table cannot be compacted", error=str(error))


def _batch(deliveries: Sequence[Delivery]) -> _Batch:
    try:
        return _batch_of(deliveries, _event)
    except _NO_ROW:  # which one it is tells only a look at each of them
        return _batch_of(deliveries, _event_with_row)


def _batch_of(deliveries: Sequence[Delivery], understood: Callable[[bytes], pb.Event]) -> _Batch:
    rows = [SCHEMA.empty_table()]
    dead: list[tuple[Message, str]] = []
    for begin in range(0, len(deliveries), _TOGETHER):
        events: list[pb.Event] = []
        for delivery in deliveries[begin : begin + _TOGETHER]:
            try:
                events.append(understood(delivery.message.body))
            except ValueError as error:
                dead.append((delivery.message, str(error)))
        rows.append(table_of(events, [identity(event) for event in events]))
    return _Batch(deliveries, pa.concat_tables(rows), dead)


def _event_with_row(body: bytes) -> pb.Event:
    """An event that is certain to fit the table's columns.

    Raises:
        ValueError: it is none.
    """
    event = _event(body)
    try:
        table_of([event], [identity(event)])
    except _NO_ROW as error:
        raise ValueError(f"an event that fits no row of the table: {error}") from error
    return event


def _event(body: bytes) -> pb.Event:
    """An event as others can read it.

    Raises:
        ValueError: it is none.
    """
    try:
        event = read(body)
    except DecodeError as error:
        raise ValueError("not an ooml.bandit.v1.Event") from error
    subject_of(event)
    if not event.HasField("recorded_at") or not 0 < event.recorded_at.seconds < _YEAR_10000_S:
        raise ValueError("an event that does not say when it was recorded")
    return event
