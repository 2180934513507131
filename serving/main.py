"""One serving worker, put together: the only place that knows which store, catalogue, service and transport there are."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import uvloop

from policies.types import PolicyName
from serving import child, logs, scheduling
from serving.certificates import BadCertificates
from serving.child import Orders
from serving.door import Door
from serving.health import watch_health
from serving.metrics import Metrics
from serving.ports import Unavailable
from serving.readiness import Readiness
from serving.redis.catalog import RedisCatalog
from serving.redis.connect import Client, connect
from serving.redis.depth import OutboxDepth
from serving.redis.guard import UnsafeStore
from serving.redis.janitor import Janitor
from serving.redis.store import RedisDecisionStore, StoreSettings
from serving.service.bandit import BanditService
from serving.service.deciding import Sources
from serving.service.policies import PolicyService
from serving.settings import is_loopback
from serving.transport.calls import Limits
from serving.transport.server import GrpcServer, ServerOptions

log = structlog.get_logger()

OUTBOX_LOOK_S = 1.0
CATALOG_LOOK_S = 0.3
FAILED_S = 5.0
"""How long a worker that failed may take to end."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts of one worker: what serves, whether it can, what counts, and what runs beside it until the worker is told to stop."""

    client: Client
    server: GrpcServer
    readiness: Readiness
    metrics: Metrics
    background: tuple[Coroutine[Any, Any, object], ...]


def main() -> int:
    """Do what the supervisor says until told to stop; returns the exit code."""
    orders = Orders.from_line(child.told())
    logs.configure(orders.settings, process=f"worker-{orders.slot}")
    child.outlive_parent_by(orders.settings.drain_notice_s + orders.settings.drain_grace_s + 1.0)
    return uvloop.run(serve(orders))


async def serve(orders: Orders) -> int:
    """Serve until SIGTERM or SIGINT, then drain; returns the exit code."""
    settings = orders.settings
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with scheduling.threads_give_way():
        worker = build(orders)
    code = 0
    try:
        # If it can serve within the time of a look, then before it listens: callers see nothing of a worker that was replaced.
        can_serve = False
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(settings.health_timeout_s):
                await worker.readiness.check()
                can_serve = True
        _collect_less()
        with scheduling.threads_give_way():
            worker.server.listen(orders.listen)
            await worker.server.start()
        await worker.server.publish_health(can_serve)
        child.say_ready()
        await _until(stop, worker.background)
    except UnsafeStore as refused:
        log.critical("refusing to serve", reason=str(refused))
        code = child.REFUSED
    except BadCertificates as bad:  # not REFUSED: whoever writes the files may be done when we are started again
        log.critical("cannot listen", reason=str(bad))
        code = 1
    except Exception as error:
        log.critical("worker failed", reason=repr(error))
        with suppress(Exception):  # that one is to be told
            async with asyncio.timeout(FAILED_S):
                # Else the loop would end first, and gRPC's core write calls to where nobody keeps them any more.
                await worker.server.stop(0)
                await worker.client.aclose()
        raise
    log.info("draining")
    counting = asyncio.create_task(worker.metrics.run())  # whoever waits for the end sees what is still in flight
    try:
        await worker.server.drain()
        await asyncio.sleep(settings.drain_notice_s)
        await worker.server.stop(settings.drain_grace_s)
        await worker.client.aclose()
    finally:
        counting.cancel()
        worker.metrics.write()
    return code


def _collect_less() -> None:
    """Look for cycles less often than Python does, and no more among what is there already.

    What our part of a call leaves behind is freed by its count of references, however it ends, but for errors that nobody planned. What
    gRPC's look-up of the method leaves, where its own loop takes the call in, is not: a cycle of five objects. A batch that is under way is
    some thousand objects, which should not be looked at again and again; nor should there be so many that to look at them takes ten
    milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 5)


async def _until(stop: asyncio.Event, jobs: Sequence[Coroutine[Any, Any, object]]) -> None:
    """Run jobs that never end until told to stop, or until one fails: then raise what it raised."""
    stopping = asyncio.create_task(stop.wait())
    running = [asyncio.create_task(job) for job in jobs]
    done, _ = await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
    for task in {stopping, *running} - done:
        task.cancel()
    for task in done:
        task.result()


def build(orders: Orders) -> Worker:
    """Put a worker together; nothing runs yet. Call it in the loop the worker will run in."""
    settings = orders.settings
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    kept = StoreSettings(settings.event_sink, settings.outbox_entries, settings.idempotency_window_s)
    store = RedisDecisionStore(client, kept)
    catalog = RedisCatalog(client, log.warning, timeout_s=settings.redis_timeout_s)
    door = Door(settings, client) if settings.asks_for_credentials else None
    readiness = Readiness(settings, client, store, catalog, door.keyring if door else None, loud=orders.slot == 0)
    metrics = Metrics()
    sources = Sources(time.time, np.random.default_rng(_seed(orders)), secrets.token_bytes)
    server = GrpcServer(
        BanditService(store, catalog, sources),
        PolicyService(store, catalog),
        metrics,
        lambda policy: catalog.live(PolicyName(policy)) is not None,
        ServerOptions(
            limits=Limits(settings.max_in_flight, settings.default_deadline_s, settings.access_log),
            reuse_port=True,
            reflection=settings.shows_contract,
            max_connection_age_s=settings.max_connection_age_s,
            tls=settings.tls,
        ),
        door.behind(readiness.admit) if door else readiness.admit,
    )
    background: list[Coroutine[Any, Any, object]] = [
        watch_health(readiness.check, server.publish_health, settings.health_interval_s, settings.health_timeout_s),
        catalog.follow(CATALOG_LOOK_S),
        metrics.run(),
        *(door.followers(CATALOG_LOOK_S) if door else ()),
    ]
    if not settings.asks_for_credentials and not is_loopback(settings.host) and orders.slot == 0:
        log.warning("ANYBODY WHO REACHES THIS SERVER MAY CALL IT", because="OOML_AUTH=off", host=settings.host)
    if orders.slot == 0:  # one worker of a server is enough for what concerns them all
        background += [Janitor(client, kept).run(), _measure_outbox(OutboxDepth(client), metrics)]
    return Worker(client, server, readiness, metrics, tuple(background))


def _seed(orders: Orders) -> np.random.SeedSequence:
    """Of this process alone: no two workers, and no two lives of one worker, draw the same numbers."""
    if orders.settings.seed is None:
        return np.random.SeedSequence()
    return np.random.SeedSequence(orders.settings.seed, spawn_key=(orders.stream,))


async def _measure_outbox(depth: OutboxDepth, metrics: Metrics) -> None:
    while True:
        with suppress(Unavailable):
            metrics.outbox_depth(await depth.look())
        await asyncio.sleep(OUTBOX_LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
