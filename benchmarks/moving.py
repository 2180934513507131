"""Relay and sink at work in one process, on entries as a server wrote them; run as ``python -m benchmarks.moving``.

Prints one JSON object a line: who moved how many events, in what time, by how much CPU of this process (of all its threads).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import nats
import redis
import typer

from benchmarks import entries
from events.bus import Delivery, Message
from events.columns import table_of
from events.direct import DirectSource
from events.headers import headers_of
from events.identity import identity
from events.jetstream import JetStreamBus
from events.main import collect_seldom
from events.outbox import Entry, Outbox
from events.packed import read
from events.reading import EntryReader
from events.relay import Relay
from events.sink import NAME, WINDOW_S, Sink, Source
from events.subjects import ALL
from events.table import EventTable
from policies.types import Namespace, PolicyName
from serving.redis.connect import Client, connect

RELAY, RAW, FROM_MEMORY, FROM_BUS, FROM_OUTBOX, SIZE = "relay", "raw client", "from memory", "from JetStream", "from the outbox", "size"
ON_THE_WAY = 256
"""Messages that the raw client has published and that are not yet acknowledged."""
POLICY = PolicyName("tips")


class Given:
    """Events that are there already."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._waiting = [Delivery(message, None) for message in messages]

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """See `events.sink.Source`."""
        if not self._waiting:
            await asyncio.sleep(wait_s)
        found, self._waiting = self._waiting[:most], self._waiting[most:]
        return found

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing."""


class Bench:
    """What is measured, on servers of its own.

    Args:
        sample: entries as a server wrote them.
        events: moved each time, about.
    """

    def __init__(self, sample: Sequence[Entry], plain: redis.Redis, client: Client, nats_url: str, folder: Path, events: int) -> None:
        self._sample, self._plain, self._nats_url, self._folder, self._events = sample, plain, nats_url, folder, events
        self._outbox = Outbox(client)
        self._entries = EntryReader(_policy_of, _fail)
        self._bus = JetStreamBus([nats_url], nats_url)
        self._tables: dict[str, EventTable] = {}

    async def run(self, rounds: int) -> None:
        """Measure in alternation, and print."""
        self._size()
        moving = [self._relayed, self._published]
        for _ in range(rounds):
            for move in moving:
                await move()
            await self._kept(FROM_BUS, 2 * self._events, await self._bus.subscribe(NAME, [ALL]))
            await self._kept(FROM_MEMORY, 2 * self._events, Given(self._messages(2 * self._events)))
            entries.write(self._plain, entries.copies(self._sample, self._events))
            await self._kept(FROM_OUTBOX, self._events, DirectSource(self._outbox, self._entries))
            moving.reverse()
        await self._bus.aclose()

    def _messages(self, events: int) -> list[Message]:
        return entries.messages(entries.copies(self._sample, events), POLICY)

    async def _relayed(self) -> None:
        events = entries.write(self._plain, entries.copies(self._sample, self._events))
        relay = Relay(self._outbox, self._entries, self._bus, NAME, _fail)
        await self._bus.backlog(NAME)  # connected

        async def move() -> None:
            running = asyncio.create_task(relay.run())
            while relay.published < events and not running.done():  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.001)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

        await _measured(RELAY, events, move)

    async def _published(self) -> None:
        """The same messages, as whoever has nothing but the client would publish them."""
        messages = self._messages(self._events)
        client = await nats.connect(self._nats_url)
        room, kept, all_kept = asyncio.Semaphore(ON_THE_WAY), 0, asyncio.Event()

        async def heard(answer: object) -> None:
            nonlocal kept
            kept += 1
            room.release()
            if kept == len(messages):
                all_kept.set()

        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=heard)

        async def publish() -> None:
            for message in messages:
                await room.acquire()
                await client.publish(message.subject, message.body, inbox, headers_of(message))
            await all_kept.wait()

        await _measured(RAW, len(messages), publish)
        await client.close()

    async def _kept(self, who: str, events: int, source: Source) -> None:
        if who not in self._tables:
            self._tables[who] = EventTable(str(self._folder / who.replace(" ", "-")))
        sink = Sink(source, self._tables[who], self._outbox, self._bus, _fail)

        async def keep() -> None:
            while sink.kept < events:
                await sink.step(WINDOW_S)

        await _measured(who, events, keep)

    def _size(self) -> None:
        """What the sample takes in a table of its own: copies of one vector would take less."""
        folder = self._folder / "size"
        events = [read(message.body) for message in entries.messages(iter(self._sample), POLICY)]
        EventTable(str(folder)).append(table_of(events, [identity(event) for event in events]))
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        decisions = sum(event.HasField("decision_made") for event in events)
        print(json.dumps({"who": SIZE, "events": len(events), "bytes_each": size / len(events), "decisions": decisions}), flush=True)


async def _measured(who: str, events: int, move: Callable[[], Awaitable[None]]) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    await move()
    took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"who": who, "events": events, **took}), flush=True)


async def _policy_of(namespace: Namespace) -> PolicyName:
    return POLICY


def _fail(what: str, **details: object) -> None:
    raise RuntimeError(f"{what}: {details}")


async def run(sample_url: str, redis_url: str, nats_url: str, folder: Path, events: int, rounds: int) -> None:
    """Measure on these servers."""
    with redis.Redis.from_url(sample_url) as of_sample, redis.Redis.from_url(redis_url) as plain:
        client = connect(redis_url, cluster=False, timeout_s=30.0)
        try:
            await Bench(entries.logged(of_sample), plain, client, nats_url, folder, events).run(rounds)
        finally:
            await client.aclose()


def main(
    sample_url: Annotated[str, typer.Option(help="Redis whose outbox has the sample.")],
    redis_url: Annotated[str, typer.Option(help="An empty one.")],
    nats_url: Annotated[str, typer.Option(help="An empty broker.")],
    folder: Annotated[Path, typer.Option(help="For tables.")],
    events: Annotated[int, typer.Option(help="Moved each time.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="In alternation.")] = 5,
) -> None:
    """Move events from an outbox to a broker, and from wherever they come to a table."""
    collect_seldom()
    asyncio.run(run(sample_url, redis_url, nats_url, folder, events, rounds))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
