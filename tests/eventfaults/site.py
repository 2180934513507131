"""A server, its store, and all that moves its events to the table: a broker, relays and sinks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import redis

from cli.embedded import EmbeddedServer
from cli.embedded_nats import EmbeddedNats
from cli.own_process import OwnProcess
from events.audit import Auditor, Report
from serving.ids import SHARDS
from serving.redis.connect import connect
from serving.redis.keys import keys_of
from tests.eventfaults.mover import Mover
from tests.faults.site import Site
from tests.serving.waiting import eventually

AGAIN_S = 2.0
LEASE_S = 2.0


@dataclass
class LoggedSite(Site):
    """What runs. `kill` breaks a ``relay``, a ``sink``, the ``nats`` server, or what `Site` has, and starts it again."""

    table: Path = field(default=Path(), kw_only=True)
    hurried: bool = True
    nats: EmbeddedNats | None = None
    relays: list[Mover] = field(default_factory=list)
    sinks: list[Mover] = field(default_factory=list)

    async def kill(self, what: str, rng: np.random.Generator) -> None:
        """Kill -9; those of several are drawn."""
        match what:
            case "relay" | "sink":
                movers = self.relays if what == "relay" else self.sinks
                await self._kill_own(movers[int(rng.integers(len(movers)))])
            case "nats":
                assert self.nats is not None
                await self._kill_own(self.nats)
            case _:
                await super().kill(what, rng)

    async def start(self, process: OwnProcess) -> None:
        """Start what is not running."""
        await self.do(process.start)

    async def drained(self, to: int = 0, within_s: float = 60.0) -> None:
        """Return once no more than so many entries are in the outbox; none: all there was to log is in the table."""
        await eventually(lambda: self.waiting() <= to, within_s, f"{to} entries are in the outbox; {self.logs()}")

    async def audit(self) -> Report:
        """What `ooml audit` finds."""
        client = connect(self.store.url, cluster=False, timeout_s=5.0)
        try:
            return await Auditor(client, str(self.table)).run()
        finally:
            await client.aclose()

    def waiting(self) -> int:
        """Entries of the outbox."""
        return sum(self.depths())

    def depths(self) -> list[int]:
        """(256,) entries of each shard."""
        with redis.Redis(port=self.store.port) as client:
            pipeline = client.pipeline(transaction=False)
            for shard in range(SHARDS):
                pipeline.xlen(keys_of(shard).outbox)
            return list(map(int, pipeline.execute()))

    def logs(self) -> str:
        """Where to look when something went wrong."""
        return "logs: " + ", ".join(str(mover.log) for mover in (*self.relays, *self.sinks))

    def mover_settings(self) -> Mapping[str, object]:
        """Of a relay or a sink."""
        broker = {} if self.nats is None else {"nats_url": self.nats.url}
        times = {"event_again_s": AGAIN_S, "sink_lease_s": LEASE_S} if self.hurried else {}
        return {"redis_url": self.store.url, "event_table": self.table, **broker, **times}

    async def _kill_own(self, process: OwnProcess) -> None:
        await self.do(process.kill)
        await self.start(process)


@asynccontextmanager
async def logged(
    store: EmbeddedServer,
    folder: Path,
    *,
    nats: bool = True,
    hurried: bool = True,
    relays: int = 1,
    sinks: int = 1,
    table: Path | None = None,
    env: Mapping[str, str] | None = None,
    **settings: object,
) -> AsyncIterator[LoggedSite]:
    """Everything, running; all of it is gone when the block is left.

    Args:
        nats: whether there is a broker; without, the sinks read the outbox themselves.
        hurried: whether relays and sinks take each other for dead, and events for lost, within seconds: `AGAIN_S`, `LEASE_S`.
        table: where it is kept.
        env: further variables of the sinks.
        settings: of the server.
    """
    broker = EmbeddedNats(folder / "nats") if nats else None
    here = LoggedSite(store, folder, {"event_sink": "drained", **settings}, table=table or folder / "events", hurried=hurried, nats=broker)
    try:
        async with here._servers:
            await here.do(here.store.start)
            if here.nats is not None:
                await here.start(here.nats)
            given = here.mover_settings()
            here.relays = [Mover("relay", folder / f"relay{k}.log", given) for k in range(relays if nats else 0)]
            here.sinks = [Mover("sink", folder / f"sink{k}.log", given, env) for k in range(sinks)]
            for mover in (*here.relays, *here.sinks):
                await here.start(mover)
            await here._serve()
            yield here
    finally:
        for process in (*here.sinks, *here.relays, *([here.nats] if here.nats else []), here.store):
            await here.do(process.kill)
        here._starter.shutdown()
