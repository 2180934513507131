"""Moves events from where they wait, the bus or the outbox itself, to the table; and says that they are kept only once they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa
from google.protobuf.message import DecodeError
from ooml.bandit.v1 import events_pb2 as pb

from events.bus import Bus, BusUnavailable, Delivery, Message
from events.columns import SCHEMA, table_of
from events.identity import identity
from events.outbox import Outbox
from events.packed import read
from events.subjects import DEAD_LETTERS, subject_of
from events.table import EventTable, TableUnavailable, erasures_of
from serving.ports import Unavailable

Report = Callable[..., object]

NAME = "sink"
"""Of the sink's subscription."""
MOST = 20_000
"""Events kept in one commit, about."""
WINDOW_S = 1.0
"""How long the first of them waits for the others."""
PAUSE_S = 1.0
COMPACT_S = 600.0
_FETCH = 2_000
_TOGETHER = 1_000
"""Events made rows of together: so many fit the processor's cache."""
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
                await self._insist(batch)
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
        await self._keep(self._batch(await self._fetched(window_s)))
        return self.kept - before

    async def _gather(self, window_s: float) -> _Batch:
        failing = False
        while True:
            try:
                return self._batch(await self._fetched(window_s))
            except (BusUnavailable, Unavailable) as error:
                if not failing:
                    self._report("events cannot be fetched", error=str(error))
                failing = True
                await asyncio.sleep(PAUSE_S)

    async def _fetched(self, window_s: float) -> list[Delivery]:
        """What comes within a time after the first, or as much as is kept at once."""
        clock = asyncio.get_running_loop().time
        deliveries = await self._source.fetch(_FETCH, max(window_s, 0.001))
        until = clock() + window_s
        while deliveries and len(deliveries) < MOST and (left_s := until - clock()) > 0:
            deliveries += await self._source.fetch(_FETCH, left_s)
        return deliveries

    def _batch(self, deliveries: Sequence[Delivery]) -> _Batch:
        dead: list[tuple[Message, str]] = []
        rows = [SCHEMA.empty_table()]
        for begin in range(0, len(deliveries), _TOGETHER):
            events: list[pb.Event] = []
            for delivery in deliveries[begin : begin + _TOGETHER]:
                try:
                    events.append(_event(delivery.message.body))
                except ValueError as error:
                    dead.append((delivery.message, str(error)))
            rows.append(table_of(events, [identity(event) for event in events]))
        return _Batch(deliveries, pa.concat_tables(rows), dead)

    async def _insist(self, batch: _Batch) -> None:
        """Keep a batch, however long it takes."""
        failing = ""
        while True:
            try:
                await self._keep(batch)
            except (TableUnavailable, BusUnavailable, Unavailable) as error:
                if str(error) != failing:
                    self._report("events cannot be kept; they stay where they are", error=str(error), events=len(batch.deliveries))
                failing = str(error)
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _keep(self, batch: _Batch) -> None:
        if not batch.deliveries:
            return
        self.kept += await asyncio.to_thread(self._table.append, batch.rows)
        await asyncio.to_thread(self._table.erase, erasures_of(batch.rows))
        for message, why in batch.dead:
            await self._bury(message, why)
        await self._source.done(batch.deliveries)
        await self._drop(delivery.message for delivery in batch.deliveries)

    async def _drop(self, messages: Iterable[Message]) -> None:
        """Drop the entries all of whose events are kept by now."""
        whole: list[tuple[int, str]] = []
        for origin in (message.origin for message in messages):
            if origin is None:
                continue
            entry = (origin.shard, origin.entry)
            parts = self._parts.setdefault(entry, set())
            parts.add(origin.part)
            if len(parts) == origin.parts:
                del self._parts[entry]
                whole.append(entry)
        await self._outbox.drop(whole)
        while len(self._parts) > _HALF_DROPPED:  # whatever became of their other parts: the entries come again
            self._parts.pop(next(iter(self._parts)))

    async def _bury(self, message: Message, why: str) -> None:
        self._report("what is no event was put aside", subject=message.subject, why=why, dead_letters=DEAD_LETTERS)
        if self._bus is not None:
            await self._bus.publish([message._replace(subject=DEAD_LETTERS, id=f"dead-{message.id}", why=f"{message.subject}: {why}")])

    async def _compact(self) -> None:
        try:
            await asyncio.to_thread(self._table.compact)
        except TableUnavailable as error:
            self._report("the table cannot be compacted", error=str(error))


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
    if not event.HasField("recorded_at"):
        raise ValueError("an event that does not say when it was recorded")
    return event
