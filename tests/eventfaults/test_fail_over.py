"""A replica that is promoted without the last writes of the one before it: a new epoch, and nothing twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis

from cli.embedded import EmbeddedServer, bundled_server
from policies.types import PolicyName, ScopeId
from serving.ids import shard_of
from tests.eventfaults.client import LoggedClient
from tests.eventfaults.site import LoggedSite, logged
from tests.eventfaults.table import Row, facts_of, found_of, rows_of, sums_of
from tests.faults.conftest import NewStore
from tests.faults.record import Decision, Scope
from tests.serving.waiting import eventually

pytestmark = pytest.mark.slow


async def test_a_replica_that_lost_the_end_begins_an_epoch_and_nothing_is_kept_twice(new_store: NewStore, tmp_path: Path) -> None:
    store = new_store(tmp_path, {})
    async with logged(store, tmp_path) as here:
        client = LoggedClient(here.server.address, "u", np.random.default_rng(0), 1, patience_s=(5.0,))
        survives, lost, later = (Scope("sum", name) for name in ("survives", "lost", "later"))
        for mover in (*here.relays, *here.sinks):
            await here.do(mover.kill)
        replica = EmbeddedServer(tmp_path / "replica", program=bundled_server())
        await here.do(replica.start)
        with redis.Redis(port=store.port) as main, redis.Redis(port=replica.port) as copy:
            copy.replicaof("127.0.0.1", store.port)
            decisions = [await _decide(client, survives) for _ in range(3)]
            await eventually(lambda: _has_all(main, copy), 20, "the replica has everything")
            copy.replicaof("NO", "ONE")
        # From here on nothing reaches the replica, as when the network between them is cut.
        for mover in (*here.relays, *here.sinks):
            await here.start(mover)
        for decision in decisions:
            await _reward(client, decision)
        await _reward(client, await _decide(client, lost))
        await here.drained()
        kept = rows_of(here.table)

        await _promote(here, replica)
        await here.recovered()
        for decision in decisions:  # it is as if these had never come: their senders may send them again
            await _reward(client, decision)
        await _reward(client, await _decide(client, later))
        await here.drained()

        rows = rows_of(here.table)
        assert len({row["id"] for row in rows}) == len(rows)
        facts = Counter(fact for scope in (survives, lost, later) for fact in facts_of(scope))
        assert Counter(map(found_of, rows)) == facts
        assert kept == [row for row in rows if row["scope"] != "later"]
        _check_epochs(rows, survives, later)
        await here.check_sums([survives, later], sums_of(rows))
        report = await here.audit()
        assert {(found.scope, found.redis) for found in report.differences} == {("lost", None)}  # what the store has lost, the log knows


async def _decide(client: LoggedClient, scope: Scope) -> Decision:
    decision = scope.draw(client.rng)
    if scope not in client.scopes:
        client.scopes.append(scope)
    async with client.connection() as stub:
        decision.answer = await stub.Score(decision.request, timeout=5.0, wait_for_ready=True)
    return decision


async def _reward(client: LoggedClient, decision: Decision) -> None:
    async with client.connection() as stub:
        for reward in decision.rewards:
            assert await client._reward(stub, decision, reward)


def _has_all(main: redis.Redis, copy: redis.Redis) -> bool:
    told, heard = (cast(dict[str, Any], client.info("replication")) for client in (main, copy))
    return heard.get("master_link_status") == "up" and bool(told["master_repl_offset"] == heard["slave_repl_offset"])


async def _promote(here: LoggedSite, replica: EmbeddedServer) -> None:
    """The store dies, and the replica serves at its address."""
    await here.do(here.store.kill)
    await here.do(replica.stop)
    replica.port = here.store.port
    await here.do(replica.start)
    here.store = replica


def _check_epochs(rows: list[Row], survives: Scope, later: Scope) -> None:
    """What was written before and after the fail-over is of different epochs, each counted from 1."""
    epochs = defaultdict(set)
    for row in rows:
        epochs[row["scope"]].add(row["epoch"])
    assert len(epochs["survives"]) == 1
    assert epochs["survives"] == epochs["lost"]
    assert len(epochs["later"]) == 1
    assert epochs["later"] != epochs["survives"]
    shard = shard_of(PolicyName(later.policy), ScopeId(later.name))
    assert {row["sequence"] for row in rows if row["scope"] == "later"} == set(range(1, 2 + len(later.decisions[0].rewards)))
    assert shard != shard_of(PolicyName(survives.policy), ScopeId(survives.name))
