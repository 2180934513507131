"""Many calls in one round trip: each gets its own answer, and what is wrong with one is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ResponseError

from features.packed import pack
from policies.types import ArmId, DecisionId, Evidence, ScopeId
from serving.ids import new_decision_id
from serving.ports import (
    ArmLimit,
    Draft,
    Forgotten,
    NotActivated,
    PublishedPolicy,
    Query,
    Recorded,
    RewardOutcome,
    RewardStatus,
    Row,
    Snapshot,
    Told,
    UnknownDecision,
)
from serving.redis.connect import Client
from tests.store.build import Harness, S, answered, decision, policy, same
from tests.store.conftest import on_redis

APPLIED, DUPLICATE = RewardStatus.APPLIED, RewardStatus.DUPLICATE
SCOPES = [ScopeId(f"person {n}") for n in range(40)]
"""Of many shards, on all nodes of a cluster."""


def query(p: PublishedPolicy, *arms: str, scope: str = S, rows: Sequence[Row] = (), **how: object) -> Query:
    return Query(p, ScopeId(scope), tuple(map(ArmId, arms)), rows, None)._replace(**how)  # type: ignore[arg-type]


def told(p: PublishedPolicy, of: str, value: float, reward_id: str | None = None) -> Told:
    return Told(p, DecisionId(of), value, reward_id, None)


async def read(at: Harness, *queries: Query) -> list[Snapshot]:
    return [answered(answer) for answer in await at.store.read(queries)]


async def evidence_of(at: Harness, p: PublishedPolicy, *arms: str, **held: int) -> Evidence:
    (snapshot,) = await read(at, query(p, *arms, held=held))
    return snapshot.evidence


# Each its own answer.


async def test_each_of_many_queries_gets_its_own_answer(at: Harness) -> None:
    p, q = policy(default=1.0), policy(name="q", namespace="ba9876543210", dimension=3, default=2.0)
    for n, scope in enumerate(SCOPES):
        await at.open(p, f"arm {n}", scope=scope, x=[n, 1.0])
        await at.put_row(f"row {n}".encode(), {b"a": b"%d" % n, b"b": b"x"})
    await at.open(q, "arm 0", scope=SCOPES[0])
    rows = [[(f"row {n}".encode(), (b"a",)), (f"row {n + 1}".encode(), (b"b", b"a"))][: n % 3] for n in range(len(SCOPES))]
    queries = [query(p, f"arm {n}", "nobody", scope=scope, rows=rows[n]) for n, scope in enumerate(SCOPES)]
    *answers, other, nothing = await read(at, *queries, query(q, "arm 0", scope=SCOPES[0]), query(p, scope=SCOPES[1]))
    for n, snapshot in enumerate(answers):
        assert snapshot.evidence.arms == (f"arm {n}", "nobody")
        assert snapshot.evidence.b.tolist() == [[n, 1.0], [0.0, 0.0]]
        last = None if n + 1 == len(SCOPES) else b"%d" % (n + 1)
        assert list(snapshot.rows) == [pack([b"%d" % n]), pack([last and b"x", last])][: n % 3]
    assert other.evidence.b.tolist() == [[2.0, 4.0, 6.0]]
    assert nothing.evidence.arms == ()


async def test_each_of_many_queries_finds_its_own_earlier_answer(at: Harness) -> None:
    p = policy()
    made = [await at.decide(p, decision(p, scope=scope), request_id=f"r{n}") for n, scope in enumerate(SCOPES[:8])]
    queries = [query(p, scope=scope, request_id=f"r{n - n % 2}") for n, scope in enumerate(SCOPES[:8])]
    for n, snapshot in enumerate(await read(at, *queries)):
        if n % 2:
            assert snapshot.recorded is None
        else:
            assert snapshot.recorded is not None
            assert same(snapshot.recorded.decision, made[n].decision)


async def test_each_of_many_decisions_is_recorded_and_teaches_its_own_arm(at: Harness) -> None:
    p = policy(default=1.0)
    made = [decision(p, f"arm {n}", scope=scope, x=[n, 1.0]) for n, scope in enumerate(SCOPES)]
    answers = [answered(answer) for answer in await at.store.decide([Draft(p, one, None, b"", 0) for one in made])]
    assert [answer.decision.decision_id for answer in answers] == [one.decision_id for one in made]
    for n, snapshot in enumerate(await read(at, *(query(p, f"arm {n}", scope=scope) for n, scope in enumerate(SCOPES)))):
        assert snapshot.evidence.b.tolist() == [[n, 1.0]]


async def test_each_of_many_rewards_is_counted_for_its_own_decision(at: Harness) -> None:
    p = policy(default=None)
    made = [await at.open(p, scope=scope, x=[1.0, 0.0]) for scope in SCOPES]
    outcomes = await at.store.reward([told(p, of, n / 8) for n, of in enumerate(made)])
    assert outcomes == [RewardOutcome(APPLIED, n / 8) for n in range(len(SCOPES))]
    for n, snapshot in enumerate(await read(at, *(query(p, "a", scope=scope) for scope in SCOPES))):
        assert snapshot.evidence.reward_sum.tolist() == [n / 8]


async def test_nothing_asked_is_nothing_answered_and_keeps_nobody_waiting(at: Harness) -> None:
    p = policy(default=1.0)
    await at.open(p)
    nothings = (at.store.read([]), at.store.decide([]), at.store.reward([]), at.store.reward([told(p, "no id", 1.0)]))
    *answers, refused, snapshots = await asyncio.gather(*nothings, at.store.read([query(p, "a")]))
    assert answers == [[], [], []]
    assert [type(answer) for answer in refused] == [UnknownDecision]
    assert [answered(answer).evidence.count.tolist() for answer in snapshots] == [[1]]


async def test_decisions_of_one_scope_made_together_are_all_learned(at: Harness) -> None:
    p = policy(default=1.0)
    drafts = [Draft(p, decision(p, x=[1.0, n]), None, b"", 0) for n in range(64)]
    assert all(isinstance(answer, Recorded) for answer in await at.store.decide(drafts))
    assert (await at.sums(p))["a"] == [64.0, sum(range(64)), sum(n * n for n in range(64))]


async def test_one_request_id_twice_in_one_call_is_one_decision_and_a_replay(at: Harness) -> None:
    p = policy(default=1.0)
    one, other = decision(p), decision(p)
    first, again, elsewhere = await at.store.decide(
        [Draft(p, one, "r", b"h", 0), Draft(p, other, "r", b"h", 0), Draft(p, decision(p, scope="t"), "r", b"h", 0)]
    )
    assert (answered(first).replayed, answered(again).replayed, answered(elsewhere).replayed) == (False, True, False)
    assert same(answered(again).decision, one)
    assert (await at.sums(p))["count"] == 1


# Each its own refusal.


async def test_a_draft_of_a_forgotten_scope_is_refused_alone(at: Harness) -> None:
    p = policy(default=1.0)
    await at.store.forget(p.spec.name, [p.namespace], S)
    before, good, elsewhere = decision(p), decision(p), decision(p, scope="t")
    answers = await at.store.decide([Draft(p, before, None, b"", 0), Draft(p, good, None, b"", 1), Draft(p, elsewhere, None, b"", 0)])
    assert [type(answer) for answer in answers] == [Forgotten, Recorded, Recorded]
    assert (await at.sums(p))["count"] == 1


async def test_an_arm_too_many_is_refused_alone(at: Harness) -> None:
    p = policy(default=1.0, max_arms=2)
    arms = ["a", "b", "c", "a", "d", "b"]
    answers = await at.store.decide([Draft(p, decision(p, arm), None, b"", 0) for arm in arms])
    assert [type(answer) for answer in answers] == [Recorded, Recorded, ArmLimit, Recorded, ArmLimit, Recorded]
    assert (await evidence_of(at, p, "a", "b", "c", "d")).count.tolist() == [2, 2, 0, 0]


async def test_a_reward_that_cannot_be_counted_is_refused_alone(at: Harness) -> None:
    p, q = policy(default=None), policy(name="q", namespace="ba9876543210", default=None, max_arms=1)
    good, forgotten, deferred = await at.open(p), await at.open(p, scope="gone"), await at.open(p, scope="t", deferred=True)
    full = await at.open(q, "a")
    await at.reward(q, await at.open(q, "b"), 1.0)
    await at.store.forget(p.spec.name, [p.namespace], ScopeId("gone"))
    never = new_decision_id(3, p.namespace, bytes(12))
    rewards = [told(p, "no id", 1.0), told(p, never, 1.0), told(p, good, 2.0), told(p, forgotten, 1.0), told(p, deferred, 1.0)]
    answers = await at.store.reward([*rewards, told(q, full, 1.0), told(p, good, 3.0)])
    kinds = [UnknownDecision, UnknownDecision, RewardOutcome, Forgotten, NotActivated, ArmLimit, RewardOutcome]
    assert [type(answer) for answer in answers] == kinds
    assert (answers[2], answers[6]) == (RewardOutcome(APPLIED, 2.0), RewardOutcome(DUPLICATE, 2.0))
    assert (await at.sums(p))["r"] == 2.0


async def test_refusals_of_one_call_are_objects_of_their_own(at: Harness) -> None:
    """An exception that is raised is written on: two callers must not share one."""
    p = policy()
    never = [new_decision_id(n, p.namespace, bytes(12)) for n in range(3)]
    refused = await at.store.reward([told(p, of, 1.0) for of in (*never, "no id", "none either")])
    assert [type(answer) for answer in refused] == [UnknownDecision] * 5
    assert len({id(answer) for answer in refused}) == 5


async def test_a_feature_row_of_another_type_is_its_query_s_alone(client: Client) -> None:
    at, p = on_redis(client), policy(default=1.0)
    await at.open(p)
    await client.execute_command("SET", "text", "no hash")
    await at.put_row(b"row", {b"a": b"1"})
    good, bad = (b"row", (b"a",)), (b"text", (b"a",))
    answers = await at.store.read([query(p, "a", rows=[good]), query(p, "a", rows=[good, bad, good]), query(p, "a", rows=[good])])
    assert isinstance(answers[1], ResponseError)
    assert "WRONGTYPE" in str(answers[1])
    for answer in (answers[0], answers[2]):
        assert list(answered(answer).rows) == [pack([b"1"])]
        assert answered(answer).evidence.count.tolist() == [1]


# Counted once.


@pytest.mark.parametrize("aggregate", ["first", "sum"])
async def test_one_reward_64_times_in_one_call_counts_once(at: Harness, aggregate: str) -> None:
    p = policy(default=0.0, aggregate=aggregate)
    of = await at.open(p)
    outcomes = await at.store.reward([told(p, of, 3.0, "r")] * 64)
    assert outcomes == [RewardOutcome(APPLIED, 3.0)] + [RewardOutcome(DUPLICATE, 3.0)] * 63
    assert (await at.sums(p))["r"] == 3.0


async def test_one_reward_in_many_calls_at_once_counts_once(at: Harness) -> None:
    p = policy(default=0.0, aggregate="sum")
    of = await at.open(p)
    calls = await asyncio.gather(*(at.store.reward([told(p, of, 3.0, "r"), told(p, of, 1.0, f"r{n}")]) for n in range(16)))
    assert sorted(answered(first).status.name for first, _ in calls) == ["APPLIED"] + ["DUPLICATE"] * 15
    assert [answered(second).status for _, second in calls] == [APPLIED] * 16
    assert (await at.sums(p))["r"] == 19.0


# What the caller holds already.


async def test_arms_at_the_version_held_are_left_out_and_changed_ones_are_not(at: Harness) -> None:
    p = policy(default=1.0)
    for arm in ("a", "b", "c"):
        await at.open(p, arm)
    first = await evidence_of(at, p, "a", "b", "c", "none")
    held = dict(zip(first.arms, first.version.tolist(), strict=True))
    assert (await evidence_of(at, p, "a", "b", "c", "none", **held)).arms == ()
    await at.open(p, "b", x=[5.0, 5.0])
    changed = await evidence_of(at, p, "c", "b", "new", "a", **held)
    assert changed.arms == ("b", "new")
    assert changed.b.tolist() == [[6.0, 7.0], [0.0, 0.0]]
    assert changed.version[0] > held["b"]


async def test_an_arm_that_has_come_since_nothing_was_held_of_it_is_returned(at: Harness) -> None:
    p = policy(default=1.0)
    assert (await evidence_of(at, p, "a", a=0)).arms == ()
    await at.open(p, "a")
    assert (await evidence_of(at, p, "a", a=0)).count.tolist() == [1]


async def test_a_reward_changes_the_version_held(at: Harness) -> None:
    p = policy(default=1.0)
    of = await at.open(p, "a")
    version = int((await evidence_of(at, p, "a")).version[0])
    await at.reward(p, of, 4.0)
    assert (await evidence_of(at, p, "a", a=version)).reward_sum.tolist() == [4.0]


async def test_forgotten_arms_are_returned_empty_to_who_holds_them(at: Harness) -> None:
    p = policy(default=1.0)
    await at.open(p, "a")
    version = int((await evidence_of(at, p, "a")).version[0])
    await at.store.forget(p.spec.name, [p.namespace], S)
    gone = await evidence_of(at, p, "a", a=version)
    assert (gone.arms, gone.version.tolist()) == (("a",), [0])
    assert not gone.rows.any()


async def test_what_was_learned_after_forgetting_is_never_taken_for_what_was_held(at: Harness) -> None:
    p = policy(default=1.0)
    for _ in range(3):
        await at.open(p, "a")
    version = int((await evidence_of(at, p, "a")).version[0])
    await at.store.forget(p.spec.name, [p.namespace], S)
    for n in range(1, 4):
        await at.decide(p, decision(p), generation=1)
        assert (await evidence_of(at, p, "a", a=version)).count.tolist() == [n]


async def test_each_query_of_a_call_holds_its_own_versions(at: Harness) -> None:
    p = policy(default=1.0)
    for scope in (S, "t"):
        await at.open(p, "a", scope=scope)
    version = int((await evidence_of(at, p, "a")).version[0])
    mine, nobody_s, theirs = await read(
        at, query(p, "a", held={ArmId("a"): version}), query(p, "a"), query(p, "a", scope="t", held={ArmId("a"): version + 1})
    )
    assert (mine.evidence.arms, nobody_s.evidence.arms, theirs.evidence.arms) == ((), ("a",), ("a",))
