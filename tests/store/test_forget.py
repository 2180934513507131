"""Forgetting a scope: at once closed, then erased, and only that scope."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from serving.events import DecisionMade, EvidenceAdded, ScopeForgotten
from serving.ids import shard_of
from serving.ports import Forgotten
from serving.redis.connect import Client
from serving.redis.keys import keys_of
from tests.store.build import Harness, S, decision, policy
from tests.store.conftest import on_redis, until


async def test_a_forgotten_scope_has_no_evidence_in_any_namespace(at: Harness) -> None:
    p, older = policy(default=1.0), policy(default=1.0, namespace="ba9876543210")
    await at.open(p)
    await at.open(older)
    await at.open(p, scope="t")
    await at.store.forget(p.spec.name, [p.namespace, older.namespace], S)
    assert (await at.store.evidence(p, S)).arms == ()
    assert (await at.store.evidence(older, S)).arms == ()
    assert (await at.sums(p, scope="t"))["count"] == 1


async def test_rewards_and_activations_of_a_forgotten_scope_are_refused(at: Harness) -> None:
    p = policy(default=1.0)
    of, deferred, elsewhere = await at.open(p), await at.open(p, deferred=True), await at.open(p, scope="t")
    await at.store.forget(p.spec.name, [p.namespace], S)
    with pytest.raises(Forgotten):
        await at.reward(p, of, 1.0)
    with pytest.raises(Forgotten):
        await at.store.activate(p, deferred)
    await at.reward(p, elsewhere, 1.0)
    assert (await at.store.evidence(p, S)).arms == ()


async def test_answers_to_request_ids_are_forgotten(at: Harness) -> None:
    p = policy()
    await at.decide(p, decision(p), request_id="r")
    await at.store.forget(p.spec.name, [p.namespace], S)
    snapshot = await at.read(p, request_id="r")
    assert (snapshot.recorded, snapshot.generation) == (None, 1)
    assert not (await at.decide(p, decision(p), request_id="r", generation=1)).replayed


async def test_a_scope_learns_anew_after_it_was_forgotten(at: Harness) -> None:
    p = policy(default=0.0)
    await at.reward(p, await at.open(p), 5.0)
    await at.store.forget(p.spec.name, [p.namespace], S)
    made = decision(p)
    await at.decide(p, made, generation=1)
    await at.reward(p, made.decision_id, 2.0)
    assert ((await at.sums(p))["count"], (await at.sums(p))["r"]) == (1, 2.0)


async def test_forgetting_again_and_forgetting_nobody_is_safe(at: Harness) -> None:
    p = policy()
    await at.store.forget(p.spec.name, [], S)
    await at.store.forget(p.spec.name, [p.namespace], S)
    assert (await at.read(p)).generation == 2


async def test_that_a_scope_was_forgotten_is_kept_for_good(client: Client) -> None:
    p = policy()
    generation = keys_of(shard_of(p.spec.name, S)).generation(p.spec.name, S)
    await client.set(generation, 3, ex=60)  # as versions before this one left it
    await on_redis(client).store.forget(p.spec.name, [p.namespace], S)
    assert (await client.get(generation), await client.pttl(generation)) == (b"4", -1)


async def test_another_policy_of_the_same_scope_is_left_alone(at: Harness) -> None:
    p, q = policy(default=1.0), policy(name="q", namespace="ba9876543210", default=1.0)
    await at.open(p)
    of = await at.open(q)
    await at.store.forget(p.spec.name, [p.namespace], S)
    await at.reward(q, of, 1.0)
    assert (await at.sums(q))["count"] == 1


async def test_a_log_that_nobody_drains_says_nothing_of_the_forgotten(at: Harness) -> None:
    p = policy(default=1.0)
    for scope in (S, "t"):
        await at.reward(p, await at.open(p, scope=scope), 1.0)
    await at.store.forget(p.spec.name, [p.namespace], S)
    entries = await at.log()
    told = [(e.scope, type(event)) for e in entries for event in e.events]
    assert [kind for scope, kind in told if scope == S] == [ScopeForgotten]
    assert {kind for scope, kind in told if scope == "t"} >= {DecisionMade, EvidenceAdded}


async def test_forgetting_in_flight_leaves_only_what_was_decided_afterwards(at: Harness) -> None:
    p = policy(default=1.0)
    forgetting = asyncio.Event()
    kept: list[bool] = []

    async def live(who: int) -> None:
        for i in count():
            await asyncio.sleep(0)
            generation = (await at.read(p)).generation
            try:
                made = decision(p)
                await at.decide(p, made, request_id=f"{who}/{i}", generation=generation)
                await at.reward(p, made.decision_id, 1.0)
            except Forgotten:
                continue
            if generation == 1:
                kept.append(True)
                if forgetting.is_set():
                    return

    people = [asyncio.create_task(live(who)) for who in range(8)]

    async def learning() -> bool:
        return bool((await at.sums(p))["count"])

    await until(learning)
    await at.store.forget(p.spec.name, [p.namespace], S)
    forgetting.set()
    await asyncio.gather(*people)
    assert (await at.sums(p))["count"] >= len(kept) >= 8
    made = decision(p)
    await at.decide(p, made, generation=1)
    await at.reward(p, made.decision_id, 1.0)


async def test_many_open_decisions_are_all_erased(at: Harness) -> None:
    p = policy(default=None)
    made = [await at.decide(p, decision(p), request_id=f"r{i}") for i in range(300)]
    await at.store.forget(p.spec.name, [p.namespace], S)
    for recorded in made[::50]:
        with pytest.raises(Forgotten):
            await at.reward(p, recorded.decision.decision_id, 1.0)
    assert (await at.read(p, request_id="r299")).recorded is None
