"""The processes that move events, put together."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from events.bus import Bus, BusUnavailable
from events.direct import DirectSource
from events.insisting import insist
from events.jetstream import JetStreamBus
from events.lease import LeaseLost, lease
from events.outbox import Outbox
from events.reading import EntryReader, published_in
from events.relay import Relay
from events.settings import EventSettings
from events.sink import NAME, Sink, Source
from events.subjects import ALL
from events.table import EventTable, TableUnavailable
from serving.ports import Unavailable
from serving.redis.catalog import RedisCatalog
from serving.redis.connect import Client, connect

SINK_LEASE = "ooml:sink"
LAG_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What both processes need.

    Args:
        client: of the store.
        outbox: of it.
        entries: reads it.
        bus: None when there is no broker.
    """

    client: Client
    outbox: Outbox
    entries: EntryReader
    bus: Bus | None


async def relay(settings: EventSettings) -> None:
    """Relay until told to stop.

    Raises:
        ValueError: the settings name no broker.
    """
    async with _parts(settings) as parts:
        if parts.bus is None:
            raise ValueError("there is no broker to relay to: set OOML_NATS_URL, or run `ooml sink` alone, which reads the outbox itself")
        moving = Relay(parts.outbox, parts.entries, parts.bus, NAME, log.warning, again_s=settings.event_again_s)
        log.info("relaying", redis=settings.redis_address, nats=settings.nats_address)
        await _until_stopped(moving.run(), _tell_lag(parts.outbox, moving.progress))


async def sink(settings: EventSettings) -> None:
    """Keep events until told to stop; wait while another sink does."""
    async with _parts(settings) as parts:
        await _until_stopped(_keep(settings, parts))


def collect_seldom() -> None:
    """For a process that moves events: a batch of them is a million objects in no cycle, and to look for cycles among them takes a fifth of
    the time. Errors leave some."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


async def _keep(settings: EventSettings, parts: Parts) -> None:
    while True:
        try:
            async with lease(parts.client, SINK_LEASE, settings.sink_lease_s):
                source = await _source(settings, parts)
                keeping = Sink(source, await _opened(settings.event_table), parts.outbox, parts.bus, log.warning)
                log.info("keeping events", redis=settings.redis_address, nats=settings.nats_address or None, table=settings.event_table)
                await _together(keeping.run(), _tell_lag(parts.outbox, keeping.progress))
        except LeaseLost as error:
            log.warning("another sink may have taken over", error=str(error))


async def _source(settings: EventSettings, parts: Parts) -> Source:
    """Once the bus is there, if there is to be one."""
    bus = parts.bus
    if bus is None:
        return DirectSource(parts.outbox, parts.entries, settings.event_again_s)
    return await insist(lambda: bus.subscribe(NAME, [ALL]), (BusUnavailable,), log.warning, "the bus cannot be reached")


async def _opened(url: str) -> EventTable:
    """Once the table can be."""
    return await insist(lambda: asyncio.to_thread(EventTable, url), (TableUnavailable,), log.warning, "the table cannot be opened")


@asynccontextmanager
async def _parts(settings: EventSettings) -> AsyncIterator[Parts]:
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    bus = _bus(settings) if settings.nats_servers else None
    try:
        catalog = RedisCatalog(client, log.warning, timeout_s=settings.redis_timeout_s)
        yield Parts(client, Outbox(client), EntryReader(published_in(catalog), log.warning), bus)
    finally:
        if bus is not None:
            await bus.aclose()
        await client.aclose()


def _bus(settings: EventSettings) -> JetStreamBus:
    # It must have forgotten an event by the time it is sent again: else it would swallow it.
    again_s = settings.event_again_s
    address, timeout_s = settings.nats_address, settings.nats_timeout_s
    return JetStreamBus(settings.nats_servers, address, timeout_s=timeout_s, window_s=again_s / 2, again_after_s=again_s)


async def _tell_lag(outbox: Outbox, progress: Callable[[], dict[str, int]]) -> None:
    """Say now and then how many entries wait, if that or the progress has changed."""
    said: dict[str, int] = {}
    while True:
        await asyncio.sleep(LAG_S)
        try:
            depths = await outbox.depths()
        except Unavailable:
            continue
        now = {"waiting": sum(depths), "most_in_a_shard": max(depths), **progress()}
        if now != said:
            log.info("lag", **now)
        said = now


async def _together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run until one of them fails; then the others end, too."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)


async def _until_stopped(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run until one of them fails, or SIGINT or SIGTERM comes."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(_together(*jobs))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
