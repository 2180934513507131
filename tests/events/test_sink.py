"""From a store that is written to, over the bus or without one, to the table: everything once, and nothing dropped before it is kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from ooml.bandit.v1 import events_pb2 as pb

from events.bus import BusUnavailable, Message, MessageTooLarge
from events.direct import DirectSource
from events.memory import MemoryBus
from events.outbox import GROUP, Outbox
from events.packed import read
from events.reading import EntryReader
from events.relay import Relay
from events.sink import NAME, Sink, _batch
from events.subjects import ALL, DEAD_LETTERS
from events.table import EventTable, TableUnavailable
from policies.types import Namespace, PolicyName
from serving.ports import Draft, Inputs, Unavailable
from serving.redis.connect import Client
from serving.redis.keys import keys_of
from serving.redis.store import StoreSettings
from tests.events.build import decided, event, learned, rewarded
from tests.servers import Store, flush
from tests.store.build import Harness, answered, decision, policy
from tests.store.conftest import client_of, on_redis

P = policy(default=0.5)


@dataclass
class World:
    """A store, a bus, a table, and those who move events between them."""

    store: Harness
    client: Client
    folder: Path
    bus: MemoryBus = field(default_factory=MemoryBus)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.client)
        self.entries = EntryReader(self.policy_of, self.report)

    async def policy_of(self, namespace: Namespace) -> PolicyName | None:
        return P.spec.name if namespace == P.namespace else None

    def report(self, what: str, **details: Any) -> None:
        self.reports.append({"what": what, **details})

    def relay(self, again_s: float = 60.0) -> Relay:
        return Relay(self.outbox, self.entries, self.bus, NAME, self.report, again_s=again_s)

    async def sink(self) -> Sink:
        return Sink(await self.bus.subscribe(NAME, [ALL]), EventTable(str(self.folder)), self.outbox, self.bus, self.report)

    def direct(self, again_s: float = 60.0) -> Sink:
        source = DirectSource(self.outbox, self.entries, again_s)
        return Sink(source, EventTable(str(self.folder)), self.outbox, None, self.report)

    async def waiting(self) -> int:
        return sum(await self.outbox.depths())

    def kinds(self) -> Counter[str]:
        return Counter(DeltaTable(self.folder).to_pyarrow_table(columns=["kind"])["kind"].to_pylist())


@pytest.fixture(params=["valkey", "redis_cluster"])
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    server: Store = request.getfixturevalue(request.param)
    flush(server)
    client = client_of(server)
    yield World(on_redis(client, StoreSettings(sink="drained")), client, tmp_path / "events")
    await client.aclose()


async def live(here: World) -> None:
    """Two people decide, one deferred; one is rewarded."""
    of = await here.store.open(P, scope="u")
    await here.store.open(P, scope="v", deferred=True)
    await here.store.reward(P, of, 1.0, "r")


LIVED = Counter(decision=2, evidence=2, reward=1)


async def test_what_happened_is_in_the_table_and_no_longer_in_the_outbox(here: World) -> None:
    sink = await here.sink()
    await live(here)
    assert await here.relay().move(0) == 3
    assert await here.waiting() == 3  # the bus may forget
    assert await sink.step() == 5
    assert here.kinds() == LIVED
    assert await here.waiting() == 0
    assert await here.bus.backlog(NAME) == 0


async def test_without_a_bus_the_outbox_itself_is_read(here: World) -> None:
    await live(here)
    assert await here.direct().step() == 5
    assert here.kinds() == LIVED
    assert await here.waiting() == 0


async def test_what_a_relay_did_not_live_to_publish_is_published_by_another(here: World) -> None:
    sink = await here.sink()
    await live(here)
    await here.outbox.take(0)  # and dies
    assert await here.relay().move(0) == 0
    assert await here.relay(again_s=60).move_again() == 0
    assert await here.relay(again_s=0).move_again() >= 3
    await sink.step()
    assert here.kinds() == LIVED
    assert await here.waiting() == 0


async def test_what_the_bus_forgot_is_published_again(here: World) -> None:
    await here.sink()
    await live(here)
    await here.relay().move(0)
    here.bus = MemoryBus()
    sink = await here.sink()
    relay = here.relay(again_s=0)
    entries = await here.outbox.take_again(0)
    await relay._publish(await relay._told_by(entries))
    await sink.step()
    assert here.kinds() == LIVED
    assert await here.waiting() == 0


async def taken_an_hour_ago(here: World) -> None:
    """Let whatever was taken have been taken then, by the store's clock."""
    for shard, entry, _ in (await here.outbox.look()).entries:
        await here.client.execute_command("XCLAIM", keys_of(shard).outbox, GROUP, GROUP, 0, entry, "IDLE", 3_600_000)


def marked_half_an_hour_ago(relay: Relay) -> None:
    """Let it have looked at the bus then, by its own clock: so far apart, it does not matter how a moment is told by either clock."""
    assert relay._mark is not None
    last, at = relay._mark
    relay._mark = last, at - 1800.0


async def test_what_was_lost_is_published_again_though_the_bus_is_never_empty(here: World) -> None:
    sink = await here.sink()
    relay = here.relay(again_s=0)
    await here.store.open(P, scope="lost")
    await here.outbox.take(0)  # by a relay that dies
    await taken_an_hour_ago(here)
    await here.store.open(P, scope="u")
    await relay.move(0)
    assert await relay.move_again() == 0  # it may be among what waits there
    marked_half_an_hour_ago(relay)
    await sink.step()
    await here.store.open(P, scope="v")
    await relay.move(0)
    assert await relay.move_again() == 1  # and not the one that was taken since
    await sink.step()
    assert await here.waiting() == 0


async def test_what_a_bus_has_forgotten_is_not_waited_for(here: World) -> None:
    sink = await here.sink()
    await live(here)
    relay = here.relay(again_s=0)
    await relay.move(0)
    await taken_an_hour_ago(here)
    assert await relay.move_again() == 0
    here.bus.kept.clear()
    for known in (0, 3):  # entries that are known to be lost, as new messages come and are kept
        await here.bus.publish([Message("signals.tip.served", str(known), decided().SerializeToString())])
        assert await relay.move_again() == known
        marked_half_an_hour_ago(relay)
        await sink.step()


async def test_what_still_waits_on_the_bus_is_not_published_again(here: World) -> None:
    await here.sink()
    await live(here)
    relay = here.relay(again_s=0)
    await relay.move(0)
    assert await relay.move_again() == 0
    assert len(here.bus.kept) == 5


async def test_a_sink_that_died_after_it_kept_events_keeps_them_once(here: World) -> None:
    await live(here)
    sink = here.direct()
    deliveries = await sink._fetched(0.0)
    sink._table.append(_batch(deliveries).rows)  # and dies
    assert await here.direct().step() == 0
    assert here.kinds() == LIVED
    assert await here.waiting() == 0


async def test_an_entry_stays_until_all_its_events_are_kept(here: World) -> None:
    await here.store.open(P, scope="u")
    sink = await here.sink()
    await here.relay().move(0)
    first, second = here.bus.kept
    here.bus.kept[:] = [first]
    await sink.step()
    assert await here.waiting() == 1
    here.bus.kept.append(second)
    await sink.step()
    assert await here.waiting() == 0


async def test_a_table_that_cannot_be_written_leaves_everything_where_it_is(here: World) -> None:
    await live(here)
    sink = await here.sink()
    await here.relay().move(0)
    (here.folder / f"policy={P.spec.name}").write_text("in the way")
    with pytest.raises(TableUnavailable):
        await sink.step()
    assert await here.waiting() == 3
    assert await here.bus.backlog(NAME) == 5
    (here.folder / f"policy={P.spec.name}").unlink()
    assert await (await here.sink()).step() == 5
    assert await here.waiting() == 0


async def test_what_is_no_event_becomes_a_dead_letter_and_stops_nobody(here: World) -> None:
    sink = await here.sink()
    broken = [
        Message("signals.x.served", "a", b"\xff\xff"),
        Message("signals.x.served", "b", b""),
        Message("signals.x.feedback", "c", learned(policy="").SerializeToString()),
    ]
    await here.bus.publish([*broken, Message("signals.tip.served", "d", decided().SerializeToString())])
    assert await sink.step() == 1
    letters = [message for message in here.bus.kept if message.subject == DEAD_LETTERS]
    assert [letter.body for letter in letters] == [message.body for message in broken]
    assert [letter.why for letter in letters] == [
        "signals.x.served: not an ooml.bandit.v1.Event",
        "signals.x.served: an event of kind None",
        "signals.x.feedback: an event of kind 'evidence_added' that names no policy",
    ]
    assert [report["subject"] for report in here.reports] == ["signals.x.served"] * 2 + ["signals.x.feedback"]
    assert await here.bus.backlog(NAME) == 0


def broken_number() -> pb.Event:
    event = decided()
    event.decision_made.policy_version = 2**32 - 1
    return event


def broken_time() -> pb.Event:
    event = decided()
    event.recorded_at.seconds = 10**12
    return event


def broken_status() -> pb.Event:
    event = rewarded()
    event.reward_received.status = 99  # type: ignore[assignment]  # of a version to come
    return event


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (broken_number(), "an event that fits no row of the table: "),
        (broken_status(), "an event that fits no row of the table: "),
        (event(at_s=0, decisions_shed=pb.DecisionsShed(count=2**64 - 1)), "an event that does not say when it was recorded"),
        (event(decisions_shed=pb.DecisionsShed(count=2**64 - 1)), "an event that fits no row of the table: "),
        (broken_time(), "an event that does not say when it was recorded"),
        (decided(policy="../up"), "an event of kind 'decision_made' that names no policy"),
        (decided(policy="p" * 300), "an event of kind 'decision_made' that names no policy"),
    ],
)
async def test_an_event_that_no_row_could_hold_becomes_a_dead_letter_too(
    broken: pb.Event, why: str, clean_valkey: Store, tmp_path: Path
) -> None:
    client = client_of(clean_valkey)
    here = World(on_redis(client, StoreSettings(sink="drained")), client, tmp_path)
    sink = await here.sink()
    good = [decided(), rewarded()]
    subjects = ["signals.tip.served", "signals.x.served", "signals.tip.feedback"]
    bodies = [e.SerializeToString() for e in (good[0], broken, good[1])]
    await here.bus.publish([Message(subject, subject, body) for subject, body in zip(subjects, bodies, strict=True)])
    assert await sink.step() == 2
    (letter,) = [message for message in here.bus.kept if message.subject == DEAD_LETTERS]
    assert (letter.body, (letter.why or "")[: len(f"signals.x.served: {why}")]) == (bodies[1], f"signals.x.served: {why}")
    assert await here.bus.backlog(NAME) == 0
    await client.aclose()


async def test_what_is_too_large_to_be_put_aside_is_told_of_without_its_body(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = await here.sink()
    await here.bus.publish([Message("signals.x.served", "a", b"\xff" * 100)])
    publish = here.bus.publish

    async def narrow(messages: Sequence[Message]) -> None:
        if any(message.body for message in messages):
            raise MessageTooLarge("too large")
        await publish(messages)

    monkeypatch.setattr(here.bus, "publish", narrow)
    assert await sink.step() == 0
    letter = here.bus.kept[-1]
    assert (letter.subject, letter.body) == (DEAD_LETTERS, b"")
    assert letter.why == "signals.x.served: not an ooml.bandit.v1.Event; its 100 bytes are too many to put aside"
    assert await here.bus.backlog(NAME) == 0


async def test_a_sink_that_died_before_it_said_so_to_the_bus_has_dropped_what_it_kept(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round, what it had not dropped yet would wait for a relay to send it again."""
    await live(here)
    sink = await here.sink()
    await here.relay().move(0)

    async def away(deliveries: object) -> None:
        raise BusUnavailable("away")

    monkeypatch.setattr(sink._source, "done", away)
    with pytest.raises(BusUnavailable):
        await sink.step()
    assert await here.waiting() == 0
    assert await (await here.sink()).step() == 0
    assert here.kinds() == LIVED
    assert await here.bus.backlog(NAME) == 0


async def test_an_entry_whose_events_came_apart_is_dropped_though_the_store_was_away(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.store.open(P, scope="u")
    sink = await here.sink()
    await here.relay().move(0)
    first, second = here.bus.kept
    here.bus.kept[:] = [first]
    await sink.step()
    here.bus.kept.append(second)

    async def away(entries: object) -> None:
        raise Unavailable("away")

    batch = _batch(await sink._fetched(0.0))
    with monkeypatch.context() as patched:
        patched.setattr(here.outbox, "drop", away)
        with pytest.raises(Unavailable):
            await sink._keep(batch)
    await sink._keep(batch)
    assert await here.waiting() == 0


async def test_a_forgotten_person_is_erased_from_the_table(here: World) -> None:
    await live(here)
    await here.direct().step()
    await here.store.store.forget(P.spec.name, [P.namespace], "u")  # type: ignore[arg-type]
    await here.direct().step()
    assert here.kinds() == Counter(decision=1, forgotten=1)
    assert await here.waiting() == 0


async def test_an_entry_of_an_unknown_namespace_stays_and_is_told_of(here: World) -> None:
    stranger = policy(name="stranger", namespace="ffffffffffff")
    of = await here.store.open(stranger, scope="u")
    await here.store.reward(stranger, of, 1.0, "r")
    await here.direct().step()
    assert here.kinds() == Counter(decision=1, evidence=1)
    assert await here.waiting() == 1
    assert "no policy has the namespace" in here.reports[0]["error"]


async def test_an_entry_whose_request_cannot_be_read_stays_and_is_told_of_and_stops_no_other(here: World) -> None:
    inputs = Inputs(b"\xff", np.empty((2, 0)), b"")
    (recorded,) = await here.store.store.decide([Draft(P, decision(P, scope="u"), None, b"", 0, inputs)])
    answered(recorded)
    await here.store.open(P, scope="v")
    await here.direct().step()
    assert here.kinds() == Counter(decision=1, evidence=1)
    assert await here.waiting() == 1
    assert [(report["what"], report["error"].partition("(")[0]) for report in here.reports] == [
        ("an entry of the outbox cannot be read", "DecodeError")
    ]


async def test_a_bus_that_is_away_is_waited_for_with_what_was_taken(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, relay = await here.sink(), here.relay()
    await live(here)

    async def away(messages: object) -> None:
        raise BusUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(here.bus, "publish", away)
        with pytest.raises(BusUnavailable):
            await relay.move(0)
        await here.store.open(P, scope="w")
        with pytest.raises(BusUnavailable):
            await relay.move(0)
    assert [await relay.move(0), await relay.move(0)] == [3, 1]
    await sink.step()
    assert here.kinds() == LIVED + Counter(decision=1, evidence=1)


async def test_a_relay_reads_on_while_the_bus_writes_and_publishes_in_order(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, slow = here.bus.publish, asyncio.Event()

    async def slowly(messages: Sequence[Message]) -> None:
        await slow.wait()
        await publish(messages)

    monkeypatch.setattr(here.bus, "publish", slowly)
    relay = here.relay()
    for scope in ("u", "v"):
        await here.store.open(P, scope=scope)
    running = asyncio.create_task(relay.run())
    while len(await here.outbox.take_again(0.0)) < 2:
        pass
    await here.store.open(P, scope="w")
    while len(await here.outbox.take_again(0.0)) < 3:  # it was taken, though nothing is published yet
        pass
    assert here.bus.kept == []
    slow.set()
    while relay.published < 6:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    running.cancel()
    assert [read(message.body).WhichOneof("kind") for message in here.bus.kept] == ["decision_made", "evidence_added"] * 3
