"""Whatever happened, the audit finds that the log and Redis agree; whatever is changed behind its back, it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings

from cli.embedded import EmbeddedServer
from events.audit import Auditor
from events.log import NoTable
from policies.types import DecisionId, ScopeId
from serving.ids import shard_of
from serving.ports import StoreError
from serving.redis.keys import keys_of
from serving.redis.store import StoreSettings
from tests.events.world import World, policy, world_on
from tests.servers import Store, flush
from tests.store.build import decision
from tests.store.conftest import on_redis
from tests.store.test_permissions import as_user

P = policy()
FADING = policy("fading", half_life="1m", reward={"default": None, "aggregate": "mean"})
SCOPES, ARMS = ("u", "v:w", "ü"), ("a", "b")


@pytest.fixture
async def world(clean_store: Store, tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(clean_store, tmp_path, P, FADING) as made:
        yield made


async def busy(world: World) -> list[DecisionId]:
    """Some decisions of some people, most of them rewarded."""
    made = []
    for number in range(12):
        p = P if number % 3 else FADING
        made.append(await world.at.open(p, ARMS[number % 2], scope=SCOPES[number % 3], x=(0.1 * number, -1.0)))
        if number % 4:
            await world.at.reward(p, made[-1], 0.3 * number, "r")
    return made


async def test_a_store_and_its_log_agree_wherever_the_events_are(world: World) -> None:
    await busy(world)
    waiting = await world.audit()
    assert (waiting.decisions, waiting.rewards, waiting.open) == (12, 9, 12)
    assert waiting.waiting > 0
    await world.drain()
    await world.at.open(P)
    report = await world.audit()
    assert (report.decisions, report.rewards, report.arms, report.scopes, report.waiting) == (13, 9, 7, 4, 2)
    assert report.agrees
    assert waiting.agrees


async def test_an_event_that_is_in_the_table_and_still_in_the_outbox_counts_once(world: World) -> None:
    await busy(world)
    before = await world.audit()
    sink, drop = world.sink, world.sink._outbox.drop

    async def nothing(entries: Any) -> None:
        for _ in entries:
            pass

    sink._outbox.drop = nothing  # type: ignore[method-assign]
    await world.drain()
    sink._outbox.drop = drop  # type: ignore[method-assign]
    assert world.table().num_rows == before.waiting
    report = await world.audit()
    assert (report.decisions, report.rewards, report.waiting) == (12, 9, before.waiting)
    assert report.agrees


@pytest.mark.parametrize(
    ("place", "by", "number"), [(1, 1.0, "count"), (3, 1e-6, "n"), (4, 1e-6, "Σr"), (6, 1e-6, "b[x]"), (9, 1e-6, "A[x, y]")]
)
async def test_a_number_that_differs_is_named(world: World, place: int, by: float, number: str) -> None:
    await busy(world)
    await world.drain()
    row = np.frombuffer(await world.row(P, "v:w", "b") or b"", "<f8").copy()
    row[place] += by
    await world.put_row(P, "v:w", "b", row)
    (found,) = (await world.audit()).differences
    assert (found.policy, found.namespace, found.scope, found.arm, found.number) == ("p", P.namespace, "v:w", "b", number)
    assert found.redis is not None
    assert found.log is not None
    assert found.redis - found.log == pytest.approx(by)


async def test_less_than_rounding_is_no_difference(world: World) -> None:
    await busy(world)
    row = np.frombuffer(await world.row(P, "v:w", "b") or b"", "<f8").copy()
    row[3:] *= 1 + 1e-12
    await world.put_row(P, "v:w", "b", row)
    assert (await world.audit()).agrees


async def test_what_no_longer_differs_at_the_next_look_did_not_differ(world: World) -> None:
    await busy(world)
    key = keys_of(shard_of(P.spec.name, ScopeId("v:w"))).evidence(P.namespace, ScopeId("v:w"))
    row = await world.row(P, "v:w", "b") or b""
    await world.put_row(P, "v:w", "b", np.frombuffer(row, "<f8") * 2)
    seen = 0

    def mend(keys: int) -> None:
        nonlocal seen
        seen += keys
        with world.sync() as other:
            other.hset(key, "b", row)

    report = await Auditor(world.client, world.url, lambda what, total: mend if what == "reading Redis" else lambda count: None).run()
    assert seen > 0
    assert report.agrees


async def test_an_arm_that_only_one_of_them_knows_is_named(world: World) -> None:
    await busy(world)
    row = np.frombuffer(await world.row(P, "v:w", "b") or b"", "<f8")
    await world.put_row(P, "v:w", "b", None)
    await world.put_row(P, "nobody", "b", row)
    found = sorted((await world.audit()).differences, key=lambda d: d.scope)
    assert [(d.scope, d.arm, d.number, d.log, d.redis) for d in found] == [
        ("nobody", "b", "row", None, row[1]),
        ("v:w", "b", "row", row[1], None),
    ]


async def test_a_row_of_another_length_is_named(world: World) -> None:
    await busy(world)
    row = np.frombuffer(await world.row(P, "v:w", "b") or b"", "<f8")
    await world.put_row(P, "v:w", "b", np.concatenate([row, np.zeros(4)]))
    (found,) = (await world.audit()).differences
    assert (found.number, found.log, found.redis) == ("length of x", 2.0, 3.0)


async def test_a_commit_that_the_log_lost_is_a_gap(world: World) -> None:
    await busy(world)
    await world.drain()
    lost = await world.at.open(FADING, scope="u", deferred=True)
    await world.at.open(FADING, scope="u", deferred=True)
    await world.drain()
    DeltaTable(world.url).delete(f"decision_id = '{lost}'")
    report = await world.audit()
    (gap,) = report.gaps
    assert (gap.missing, gap.erased, gap.first, report.lost) == (1, 0, gap.last, 1)
    assert list(report.unlogged) == [lost]
    assert report.differences == []
    assert not report.agrees


async def test_the_end_of_the_log_is_missed_too(world: World) -> None:
    lost = await world.at.open(FADING, scope="u", deferred=True)
    await world.drain()
    DeltaTable(world.url).delete(f"decision_id = '{lost}'")
    (gap,) = (await world.audit()).gaps
    assert (gap.first, gap.last, gap.missing) == (1, 1, 1)


async def test_what_was_erased_on_request_is_no_loss(world: World) -> None:
    await busy(world)
    await world.drain()
    await world.at.store.forget(P.spec.name, [P.namespace], ScopeId("v:w"))
    await world.drain()
    report = await world.audit()
    assert sum(gap.erased for gap in report.gaps) == sum(gap.missing for gap in report.gaps) > 0
    assert (report.open, report.decisions) == (8, 8)
    assert {(kind, scope) for kind, scope in zip(*(world.table()[name].to_pylist() for name in ("kind", "scope")), strict=True)} >= {
        ("forgotten", "v:w")
    }
    assert report.agrees


async def test_decisions_that_were_shed_may_be_missing(world: World) -> None:
    crowded = on_redis(world.client, StoreSettings(sink="drained", outbox_limit=16))
    for _ in range(12):
        await crowded.open(P, scope="u")
    await world.drain()
    report = await world.audit()
    assert (report.shed, len(report.unlogged), report.decisions, report.open) == (4, 4, 8, 12)
    assert report.agrees


async def test_evidence_that_no_published_policy_owns_cannot_be_judged(world: World) -> None:
    await busy(world)
    await world.drain()
    await world.client.execute_command("DEL", "ooml:policies")
    report = await world.audit()
    assert report.unpublished.keys() == {P.namespace, FADING.namespace}
    assert not report.agrees


async def test_a_user_of_redis_who_may_only_read_can_audit(world: World, clean_store: Store) -> None:
    await busy(world)
    async with as_user(clean_store, user="auditor") as client:
        assert (await Auditor(client, world.url).run()).agrees
        with pytest.raises(Exception, match="no permissions"):
            await client.execute_command("SET", keys_of(0).health, "1")


async def test_without_a_table_it_says_so(world: World, tmp_path: Path) -> None:
    with pytest.raises(NoTable, match=r"no table of events at .*nowhere"):
        await Auditor(world.client, str(tmp_path / "nowhere")).run()


async def test_it_agrees_while_everybody_is_at_work(world: World) -> None:
    done = asyncio.Event()

    async def serve(scope: str) -> None:
        number = generation = 0
        while not done.is_set():
            made = decision(P, ARMS[number % 2], scope=scope, x=(0.1 * number, -1.0))
            await world.at.decide(P, made, generation=generation)
            await world.at.reward(P, made.decision_id, 0.3, "r")
            number += 1
            if number % 7 == 0:
                await world.drop(P, scope)
            if number % 20 == 0:
                await world.at.store.forget(P.spec.name, [P.namespace], ScopeId(scope))
                generation += 1

    async def keep() -> None:
        while not done.is_set():
            await world.sink.step()
            await asyncio.sleep(0)

    working = [asyncio.create_task(work) for work in (*map(serve, "abcdefgh"), keep())]
    try:
        for _ in range(5):
            report = await world.audit()
            assert report.agrees, report
    finally:
        done.set()
        await asyncio.gather(*working)


Act = tuple[str, int, int, float]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["decide"] * 4 + ["defer", "activate", "reward", "reward", "forget", "drop", "sink", "touch"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.floats(-10, 10),
    ),
    max_size=40,
)


@pytest.fixture
def in_turn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A new folder for each example."""
    return lambda: tmp_path_factory.mktemp("table")


@pytest.mark.slow
@given(acts=ACTS, fading=st.booleans())
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_history_can_be_worked_out_again(valkey: EmbeddedServer, in_turn: Any, acts: list[Act], fading: bool) -> None:
    flush(valkey)
    asyncio.run(_history(valkey, in_turn(), acts, fading))


async def _history(store: Store, folder: Path, acts: list[Act], fading: bool) -> None:
    p = policy(half_life="1s") if fading else P
    async with world_on(store, folder, p) as world:
        made: list[DecisionId] = []
        generations = dict.fromkeys(SCOPES, 0)
        for act, one, other, value in acts:
            scope, arm = SCOPES[one % 3], ARMS[other % 2]
            if act in ("decide", "defer"):
                new = decision(p, arm, scope=scope, x=(value, 1.0), deferred=act == "defer")
                made.append((await world.at.decide(p, new, generation=generations[scope])).decision.decision_id)
            elif act == "forget":
                await world.at.store.forget(p.spec.name, [p.namespace], ScopeId(scope))
                generations[scope] += 1
            elif act == "drop":
                await world.drop(p, scope)
            elif act == "sink":
                await world.sink.step()
            elif made and act == "activate":
                await _tried(world.at.store.activate(p, made[one % len(made)]))
            elif made:
                await _tried(world.at.reward(p, made[one % len(made)], value, str(other)))
        report = await world.audit()
        assert report.agrees, report
        await world.drain()
        report = await world.audit()
        assert report.agrees, report


async def _tried(call: Awaitable[Any]) -> None:
    with suppress(StoreError):
        await call
