"""The outbox in Redis: bounded, whether somebody drains it or nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from cli.embedded import EmbeddedServer
from serving.events import DecisionMade, EvidenceAdded, ScopeForgotten
from serving.ids import shard_of
from serving.ports import Unavailable, UnknownDecision
from serving.redis.connect import Client
from serving.redis.keys import keys_of
from serving.redis.store import StoreSettings
from tests.servers import flush
from tests.store.build import Harness, S, decision, policy
from tests.store.conftest import client_of, on_redis

DRAINED = StoreSettings(sink="drained", outbox_limit=8)


async def fill(at: Harness, entries: int) -> None:
    p = policy(default=0.0)
    for _ in range(entries):
        await at.open(p)


async def test_undrained_it_keeps_about_its_newest_entries(client: Client) -> None:
    at = on_redis(client, StoreSettings(outbox_limit=8))
    await fill(at, 300)
    kept = [entry.seq for entry in await at.log()]
    assert kept == list(range(301 - len(kept), 301))
    assert 8 <= len(kept) < 60


async def test_drained_it_leaves_out_decisions_from_half_full_on_and_says_so(client: Client) -> None:
    at = on_redis(client, DRAINED)
    await fill(at, 6)
    entries = await at.log()
    assert [[type(e) for e in entry.events] for entry in entries] == [[DecisionMade, EvidenceAdded]] * 4 + [[EvidenceAdded]] * 2
    assert [entry.shed for entry in entries] == [0, 0, 0, 0, 1, 1]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]


async def test_decisions_left_out_without_an_entry_are_counted_in_the_next(client: Client) -> None:
    at = on_redis(client, DRAINED)
    await fill(at, 4)
    silent = policy(default=None)
    made = [await at.open(silent) for _ in range(3)]
    assert len(await at.log()) == 4
    await at.reward(silent, made[0], 1.0)
    last = (await at.log())[-1]
    assert (last.seq, last.shed) == (5, 3)


async def test_full_it_refuses_and_nothing_changes(client: Client) -> None:
    at = on_redis(client, DRAINED)
    p = policy(default=0.0, aggregate="sum")
    of, deferred = await at.open(p), await at.open(p, deferred=True)
    await fill(at, 6)
    before = await at.sums(p)
    refused = decision(p)
    with pytest.raises(Unavailable):
        await at.decide(p, refused)
    with pytest.raises(Unavailable):
        await at.reward(p, of, 1.0, "r")
    with pytest.raises(Unavailable):
        await at.store.activate(p, deferred)
    with pytest.raises(Unavailable):
        await at.store.forget(p.spec.name, [p.namespace], S)
    assert await at.sums(p) == before
    assert len(await at.log()) == 8
    await client.delete(keys_of(shard_of(p.spec.name, S)).outbox)
    with pytest.raises(UnknownDecision):
        await at.reward(p, refused.decision_id, 1.0, "r")
    assert (await at.reward(p, of, 1.0, "r")).value == 1.0
    assert (await at.log())[0].seq == 9


async def test_full_it_still_answers_what_changes_nothing(client: Client) -> None:
    at = on_redis(client, DRAINED)
    p = policy(default=0.0)
    made = decision(p)
    await at.decide(p, made, request_id="r")
    await at.reward(p, made.decision_id, 1.0)
    await fill(at, 6)
    assert (await at.decide(p, decision(p), request_id="r")).replayed
    assert (await at.reward(p, made.decision_id, 1.0)).status.name == "DUPLICATE"
    assert (await at.read(p, "a")).evidence.count.tolist() == [7]


async def test_drained_it_keeps_what_was_said_of_the_forgotten_for_its_sink(client: Client) -> None:
    at = on_redis(client, DRAINED)
    await fill(at, 2)
    p = policy()
    await at.store.forget(p.spec.name, [p.namespace], S)
    entries = await at.log()
    assert [type(entry.events[0]) for entry in entries] == [DecisionMade, DecisionMade, ScopeForgotten]


async def test_an_epoch_is_what_one_process_wrote(tmp_path: Path) -> None:
    """A restart keeps everything here, but nobody who reads the log can know that."""
    with EmbeddedServer(tmp_path) as server:
        client = client_of(server)
        at = on_redis(client)
        await fill(at, 2)
        first = run_id(server)
        server.kill()
        server.start()
        second = run_id(server)
        await at.read(policy(), "a")  # asked again on another connection; a write would not be
        await fill(at, 1)
        assert first != second
        assert [(entry.epoch, entry.seq) for entry in await at.log()] == [(first, 1), (first, 2), (second, 1)]
        await client.aclose()


async def test_writers_share_the_epoch_of_the_process_they_write_to(valkey: EmbeddedServer) -> None:
    flush(valkey)
    one, other = client_of(valkey), client_of(valkey)
    await fill(on_redis(one), 1)
    await fill(on_redis(other), 1)
    assert [(entry.epoch, entry.seq) for entry in await on_redis(one).log()] == [(run_id(valkey), 1), (run_id(valkey), 2)]
    await one.aclose()
    await other.aclose()


def run_id(server: EmbeddedServer) -> str:
    with redis.Redis(host=server.host, port=server.port) as client:
        return str(client.info("server")["run_id"])
