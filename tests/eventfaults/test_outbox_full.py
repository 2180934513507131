"""An outbox at its limit: decisions are left out first, and counted; what was learned never is; then nothing more is accepted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import PolicyName, ScopeId
from serving.ids import shard_of
from tests.eventfaults.client import LoggedClient
from tests.eventfaults.site import logged
from tests.eventfaults.table import Row, check_table, missing, rows_of, sums_of
from tests.faults.conftest import NewStore
from tests.faults.record import Scope
from tests.serving.server import reason
from tests.serving.waiting import eventually

pytestmark = pytest.mark.slow

LIMIT = 16


@pytest.mark.parametrize("nats", [True, False], ids=["broker", "no broker"])
async def test_at_the_limit_decisions_are_left_out_and_counted_and_nothing_else_is(nats: bool, new_store: NewStore, tmp_path: Path) -> None:
    async with logged(new_store(tmp_path, {}), tmp_path, nats=nats, outbox_limit=LIMIT) as here:
        (sink,) = here.sinks
        await here.do(sink.kill)
        alone = LoggedClient(here.server.address, "alone", np.random.default_rng(1), 1, patience_s=(5.0,))
        await _fill_one_shard(alone)
        assert max(here.depths()) == LIMIT
        crowd = LoggedClient(here.server.address, "crowd", np.random.default_rng(0), 8, patience_s=(0.5, 2.0))
        async with crowd.load():
            await eventually(lambda: crowd.unanswered >= 20, 60, "20 calls that are refused")
            await here.start(sink)
            accepted = len(crowd.applied_after_s)
            await eventually(lambda: len(crowd.applied_after_s) >= accepted + 50, 60, "50 rewards more")
        await crowd.settle()
        await here.drained()
        rows = rows_of(here.table)
        await here.check_sums([*alone.scopes, *crowd.scopes], sums_of(rows))
        report = await here.audit()
        assert report.agrees
        assert report.shed == _check_shed(rows, [alone, crowd])


async def _fill_one_shard(client: LoggedClient) -> None:
    """Ask about one person until nothing more is accepted."""
    scope = Scope("sum", "alone")
    client.scopes.append(scope)
    async with client.connection() as stub:
        for number in range(LIMIT):
            decision = scope.draw(client.rng)
            del decision.rewards[:]
            decision.answer = await stub.Score(decision.request, timeout=5.0)
            assert decision.answer.decision_id, number
        refused = scope.draw(client.rng)
        scope.decisions.remove(refused)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Score(refused.request, timeout=5.0)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert reason(error.value) == ("ERROR_REASON_STORE_UNAVAILABLE", True)
        first = scope.decisions[0].answer
        assert first is not None
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Reward(pb.RewardRequest(decision_id=first.decision_id, value=1.0, reward_id="r"), timeout=5.0)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def _check_shed(rows: list[Row], clients: list[LoggedClient]) -> int:
    """What is missing are decisions, and the log says how many of each shard; how many it says in all.

    It counts those, too, that were made and whose caller had ceased to wait: nobody can say that they are missing.
    """
    lost = Counter[int]()
    for client in clients:
        gone = missing(rows, client)
        assert {kind for kind, *_ in gone} <= {"decision"}
        lost.update(shard_of(PolicyName(policy), ScopeId(scope)) for _, policy, scope, *_ in gone.elements())
        check_table(rows, client, but_for=gone)
    told = Counter[int]()
    for row in rows:
        if row["kind"] == "shed":
            told[row["shard"]] += row["count"]
    assert lost.total() > LIMIT // 2
    assert lost - told == Counter()
    assert (told - lost).total() <= sum(client.unanswered for client in clients)
    return told.total()
