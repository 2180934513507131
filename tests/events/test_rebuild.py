"""An empty Redis is filled from the table alone, and goes on as if nothing had been lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cli.embedded import EmbeddedServer
from events.log import Advance
from events.rebuild import CannotRebuild, Rebuilder, Rebuilt
from policies.types import DecisionId, ScopeId
from serving.ids import shard_of
from serving.ports import Forgotten, NotActivated, RewardStatus, StoreError, UnknownDecision
from serving.redis.keys import keys_of
from serving.redis.store import StoreSettings
from tests.events.test_audit import ACTS, ARMS, SCOPES, Act
from tests.events.world import World, policy, world_on
from tests.servers import Store, flush
from tests.store.build import S, decision, same
from tests.store.conftest import on_redis
from tests.store.test_permissions import as_user

P = policy()
MEAN = policy("mean", half_life="1m", reward={"default": None, "aggregate": "mean"})
FIRST = policy("first", reward={"aggregate": "first"})
HOUR_S = 3600.0


class Lost(World):
    """A world that loses its Redis."""

    async def lose(self) -> None:
        flush(self.store)
        await self.publish(*self.published.values())

    async def rebuild(self, **how: Any) -> Rebuilt:
        return await Rebuilder(self.client, self.url, HOUR_S).run(**how)


@pytest.fixture
async def world(clean_store: Store, tmp_path: Path) -> AsyncIterator[Lost]:
    async with world_on(clean_store, tmp_path, P, MEAN, FIRST) as made:
        yield Lost(**vars(made))


async def state(world: World) -> dict[bytes, Any]:
    """All that Redis holds of decisions and evidence, by key; of rows all but their version."""
    found: dict[bytes, Any] = {}
    async for key in world.client.scan_iter(match="ooml:{*}:*"):
        kind = key.split(b":")[2]
        if kind == b"ev":
            rows: Mapping[bytes, bytes] = await world.client.execute_command("HGETALL", key)
            found[key] = {arm: np.frombuffer(row, "<f8")[1:].tolist() for arm, row in rows.items()}
        elif kind in (b"dec", b"req", b"gone"):
            found[key] = await world.client.get(key)
        elif kind == b"open":
            found[key] = dict(await world.client.zrange(key, 0, -1, withscores=True))
    return found


def about(before: dict[bytes, Any]) -> dict[bytes, Any]:
    """The same, but for rounding where evidence fades."""
    fading = f":ev:{MEAN.namespace}:".encode()
    rows = {key: held for key, held in before.items() if fading in key}
    return before | {key: {arm: pytest.approx(row, rel=1e-12, abs=1e-300) for arm, row in held.items()} for key, held in rows.items()}


async def lives(world: World, kind: bytes) -> dict[bytes, int]:
    keys = [key async for key in world.client.scan_iter(match="ooml:{*}:" + kind.decode() + ":*")]
    return {key: int(await world.client.execute_command("PEXPIRETIME", key)) for key in keys}


async def test_everything_is_there_again_to_the_last_bit(world: Lost) -> None:
    for number, p in enumerate([P, MEAN, FIRST] * 4):
        scope, arm = SCOPES[number % 3], ARMS[number % 2]
        made = await world.at.open(p, arm, scope=scope, x=(0.5, float(number)), deferred=number % 4 == 3)
        if number % 4 == 3:
            if number > 5:
                await world.at.store.activate(p, made)
            continue
        if number % 3:
            await world.at.reward(p, made, 0.25 * number, "r")
        if number % 4 == 1:
            await _tried(world.at.reward(p, made, -1.5, "é"))
    await world.answer(P, decision(P, "a", scope="u", served=True, decided_at_claimed=1.5), "q", b"h")
    await world.drain()
    before, expiries = await state(world), {kind: await lives(world, kind) for kind in (b"ev", b"dec", b"req", b"open")}
    await world.lose()
    rebuilt = await world.rebuild()
    assert await state(world) == about(before)
    assert (rebuilt.arms, rebuilt.scopes, rebuilt.decisions, rebuilt.replies, rebuilt.forgotten) == (6, 3, 13, 1, 0)
    for kind, expected in expiries.items():
        found = await lives(world, kind)
        assert found.keys() == expected.keys()
        for key, at_ms in found.items():
            assert abs(at_ms - expected[key]) <= (2 if kind in (b"dec", b"req") else 1000)
    assert (await world.audit()).agrees


async def test_a_reward_for_a_decision_from_before_counts_once(world: Lost) -> None:
    answered, silent, _ = [await world.at.open(P) for _ in range(3)]
    await world.at.reward(P, answered, 1.0, "r")
    await world.drain()
    await world.lose()
    await world.rebuild()
    assert (await world.at.reward(P, answered, 1.0, "r")).status is RewardStatus.DUPLICATE
    first = await world.at.reward(P, silent, 2.0, "r")
    assert (first.status, first.value) == (RewardStatus.APPLIED, 2.0)
    assert (await world.at.reward(P, silent, 2.0, "r")).status is RewardStatus.DUPLICATE
    assert (await world.at.reward(P, answered, 0.5, "s")).value == 1.5
    sums = await world.at.sums(P)
    assert (sums["count"], sums["r"]) == (3, 1.5 + 2.0 + 0.5)
    assert (await world.audit()).agrees
    await world.drain()
    assert (await world.audit()).agrees


async def test_deferred_decisions_wait_as_before(world: Lost) -> None:
    waiting, active = [await world.at.open(P, deferred=True) for _ in range(2)]
    deadline = await world.at.store.activate(P, active)
    await world.drain()
    await world.lose()
    await world.rebuild()
    with pytest.raises(NotActivated):
        await world.at.reward(P, waiting, 1.0)
    assert await world.at.store.activate(P, active) == deadline
    assert await world.at.store.activate(P, waiting) > deadline
    assert (await world.at.reward(P, waiting, 1.0)).status is RewardStatus.APPLIED
    assert (await world.audit()).agrees


async def test_a_request_that_was_answered_gets_the_same_answer(world: Lost) -> None:
    made = decision(P, "a", seed=2**64 - 1)
    first = await world.answer(P, made, "q", b"h")
    await world.drain()
    await world.lose()
    await world.rebuild()
    again = await world.answer(P, decision(P, "b"), "q", b"other")
    assert again.replayed
    assert (again.body_hash, again.reward_deadline) == (b"h", first.reward_deadline)
    assert same(again.decision, made)


async def test_who_was_forgotten_stays_forgotten(world: Lost) -> None:
    gone = await world.at.open(P, scope="u")
    await world.at.store.forget(P.spec.name, [P.namespace], ScopeId("u"))
    since = decision(P, scope="u")
    await world.at.decide(P, since, generation=1)
    await world.drain()
    await world.lose()
    assert (await world.rebuild()).forgotten == 1
    with pytest.raises(UnknownDecision):
        await world.at.reward(P, gone, 1.0)
    with pytest.raises(Forgotten):
        await world.at.decide(P, decision(P, scope="u"), generation=0)
    assert (await world.at.reward(P, since.decision_id, 1.0)).status is RewardStatus.APPLIED
    assert (await world.audit()).agrees


async def test_what_a_sink_had_no_time_to_erase_stays_forgotten(world: Lost) -> None:
    await world.at.open(P, scope="u")
    await world.drain()
    await world.at.store.forget(P.spec.name, [P.namespace], ScopeId("u"))
    world.sink._table.erase = lambda erasures: 0  # type: ignore[method-assign]
    await world.drain()
    assert "decision" in world.table()["kind"].to_pylist()
    await world.lose()
    rebuilt = await world.rebuild()
    assert (rebuilt.arms, rebuilt.decisions, rebuilt.forgotten) == (0, 0, 1)
    assert (await world.audit()).agrees


async def test_a_decision_whose_slate_was_shed_is_known_from_what_it_taught(world: Lost) -> None:
    crowded = on_redis(world.client, StoreSettings(sink="drained", outbox_limit=16))
    made = [await crowded.open(P) for _ in range(12)]
    before = await state(world)
    await world.drain()
    await world.lose()
    await world.rebuild()
    assert await state(world) == before
    assert (await world.at.reward(P, made[-1], 1.0)).status is RewardStatus.APPLIED
    assert (await world.audit()).agrees


async def test_no_row_has_a_version_that_it_had_before(world: Lost) -> None:
    await world.at.open(P)
    before = (await world.at.read(P, "a")).evidence.version[0]
    await world.drain()
    await world.lose()
    await world.rebuild()
    assert (await world.at.read(P, "a")).evidence.version[0] > before


async def test_what_holds_evidence_is_left_as_it_is(world: Lost) -> None:
    await world.at.open(P)
    await world.drain()
    before = await state(world)
    with pytest.raises(CannotRebuild, match="holds evidence or decisions"):
        await world.rebuild()
    assert await state(world) == before


async def test_a_user_of_redis_who_may_only_put_back_can_rebuild(world: Lost) -> None:
    made = await world.at.open(P)
    await world.answer(P, decision(P, "a", scope="u"), "q", b"h")
    await world.at.store.forget(P.spec.name, [P.namespace], ScopeId("v"))
    await world.drain()
    await world.lose()
    async with as_user(world.store, user="rebuilder") as client:
        rebuilt = await Rebuilder(client, world.url, HOUR_S).run()
    assert (rebuilt.decisions, rebuilt.replies, rebuilt.forgotten) == (2, 1, 1)
    assert (await world.at.reward(P, made, 1.0)).status is RewardStatus.APPLIED


async def test_policies_come_first(world: Lost) -> None:
    await world.at.open(P)
    await world.at.open(MEAN, deferred=True)
    await world.drain()
    flush(world.store)
    with pytest.raises(CannotRebuild, match=rf"{P.namespace} \(1 terms of evidence\).*`ooml apply`.*--only-published"):
        await world.rebuild()
    assert await state(world) == {}
    await world.publish(MEAN)
    rebuilt = await world.rebuild(only_published=True)
    assert (rebuilt.arms, rebuilt.decisions, rebuilt.unpublished) == (0, 1, {P.namespace: 1})


async def test_whoever_serves_meanwhile_is_noticed(world: Lost) -> None:
    for _ in range(3):
        await world.at.open(P)
    await world.drain()
    await world.lose()

    keys = keys_of(shard_of(P.spec.name, S))

    def stage(what: str, total: int | None) -> Advance:
        with world.sync() as other:
            other.hset(keys.evidence(P.namespace, S), "a", "row")
        return lambda count: None

    with pytest.raises(CannotRebuild, match=r"was written meanwhile.*rebuild again"):
        await Rebuilder(world.client, world.url, HOUR_S, stage).run()


@given(acts=ACTS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_history_can_be_put_back(valkey: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, acts: list[Act]) -> None:
    flush(valkey)
    asyncio.run(_history(valkey, tmp_path_factory.mktemp("table"), acts))


async def _history(store: Store, folder: Path, acts: list[Act]) -> None:
    async with world_on(store, folder, P, MEAN) as world:
        made: list[tuple[Any, DecisionId]] = []
        generations = {(p.spec.name, scope): 0 for p in (P, MEAN) for scope in SCOPES}
        for act, one, other, value in acts:
            p, scope = (P, MEAN)[other % 2], SCOPES[one % 3]
            if act in ("decide", "defer"):
                new = decision(p, ARMS[one % 2], scope=scope, x=(value, 1.0), deferred=act == "defer")
                await world.at.decide(p, new, generation=generations[p.spec.name, scope])
                made.append((p, new.decision_id))
            elif act == "forget":
                await world.at.store.forget(p.spec.name, [p.namespace], ScopeId(scope))
                generations[p.spec.name, scope] += 1
            elif act == "drop":
                await world.drop(p, scope)
            elif made and act == "activate":
                await _tried(world.at.store.activate(*made[one % len(made)]))
            elif made and act == "reward":
                await _tried(world.at.reward(*made[one % len(made)], value, str(other)))
        await world.drain()
        before = {key: held for key, held in (await state(world)).items() if held != b""}
        flush(store)
        await world.publish(P, MEAN)
        await Rebuilder(world.client, world.url, HOUR_S).run()
        assert (await world.audit()).agrees
        after = await state(world)
        for key, held in before.items():
            if b":ev:" not in key and b":open:" not in key:
                assert after.pop(key) == held
        assert all(b":ev:" in key or b":open:" in key for key in after)


async def _tried(call: Any) -> None:
    with suppress(StoreError):
        await call
