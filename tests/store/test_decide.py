"""Decisions: recorded once, learned at once, replayed under their request_id."""

from __future__ import annotations

import asyncio

import pytest

from policies.types import ArmId, CandidateId
from serving.ports import ActivatedTooLate, ArmLimit, Forgotten, NotActivated, RewardStatus, UnknownDecision
from tests.store.build import LONG, Harness, decision, policy, same
from tests.store.conftest import until


async def test_the_default_is_learned_the_moment_a_decision_is_made(at: Harness) -> None:
    p = policy(default=-0.5)
    await at.open(p, x=[2.0, 3.0])
    assert await at.sums(p) == {"count": 1, "n": 1.0, "r": -0.5, "rr": 0.25, "b": [-1.0, -1.5], "a": [4.0, 6.0, 9.0]}


async def test_without_a_default_a_decision_teaches_nothing(at: Harness) -> None:
    p = policy(default=None)
    await at.open(p)
    assert (await at.sums(p))["count"] == 0
    assert (await at.store.evidence(p, decision(p).scope)).arms == ()


async def test_the_deadline_is_one_window_from_the_decision(at: Harness) -> None:
    p = policy(window_s=60.0)
    before = (await at.read(p)).now
    recorded = await at.decide(p, decision(p))
    assert recorded.reward_deadline is not None
    assert before <= recorded.reward_deadline - 60.0 <= (await at.read(p)).now


async def test_a_decision_is_replayed_whole_under_its_request_id(at: Harness) -> None:
    p = policy(dimension=3)
    made = decision(
        p,
        "arm ✓ 火",
        scope="scope: {x} ✓",
        candidates=(CandidateId("ü"), CandidateId("c1")),
        arms=(ArmId("b"), ArmId("arm ✓ 火")),
        seed=2**53 - 1,
        served=True,
        decided_at_claimed=12.25,
        status=bytes(range(6)),
    )
    first = await at.decide(p, made, request_id="r/1:é", body_hash=b"\0hash\xff")
    kept = (await at.read(p, "a", scope=made.scope, request_id="r/1:é")).recorded
    assert kept is not None
    assert (kept.replayed, kept.body_hash, kept.reward_deadline) == (True, b"\0hash\xff", first.reward_deadline)
    assert same(kept.decision, made)
    assert (await at.read(p, scope=made.scope, request_id="r/1")).recorded is None


async def test_a_deferred_decision_is_replayed_without_a_deadline(at: Harness) -> None:
    p = policy()
    first = await at.decide(p, decision(p, deferred=True), request_id="r")
    kept = (await at.read(p, request_id="r")).recorded
    assert kept is not None
    assert (first.reward_deadline, kept.reward_deadline, kept.decision.deferred) == (None, None, True)


async def test_a_second_decision_under_a_request_id_changes_nothing_and_gets_the_first(at: Harness) -> None:
    p = policy(default=1.0)
    first = await at.decide(p, decision(p, "a"), request_id="r", body_hash=b"one")
    second = await at.decide(p, decision(p, "b"), request_id="r", body_hash=b"two")
    assert (second.replayed, second.body_hash, second.reward_deadline) == (True, b"one", first.reward_deadline)
    assert same(second.decision, first.decision)
    assert (await at.sums(p, "b"))["count"] == 0
    assert len(await at.log()) == 1


async def test_of_raced_decisions_under_one_request_id_one_is_made(at: Harness) -> None:
    p = policy(default=1.0)
    answers = await asyncio.gather(*(at.decide(p, decision(p), request_id="r") for _ in range(32)))
    assert len({a.decision.decision_id for a in answers}) == 1
    assert [a.replayed for a in answers].count(False) == 1
    assert (await at.sums(p))["count"] == 1


@pytest.mark.parametrize(("scopes", "requests"), [(("s", "s:r"), ("r:q", "q")), (("s", "t"), ("r", "r"))])
async def test_request_ids_of_two_scopes_never_meet(at: Harness, scopes: tuple[str, str], requests: tuple[str, str]) -> None:
    p = policy()
    await at.decide(p, decision(p, scope=scopes[0]), request_id=requests[0])
    assert (await at.read(p, scope=scopes[1], request_id=requests[1])).recorded is None
    assert not (await at.decide(p, decision(p, scope=scopes[1]), request_id=requests[1])).replayed


async def test_the_same_decision_again_is_recorded_once(at: Harness) -> None:
    p = policy(default=1.0)
    made = decision(p)
    first, again = await at.decide(p, made, request_id="r"), await at.decide(p, made, request_id="r")
    assert (again.replayed, again.reward_deadline) == (False, first.reward_deadline)
    assert (await at.sums(p))["count"] == 1
    assert len(await at.log()) == 1


async def test_a_decision_after_its_scope_was_forgotten_is_refused(at: Harness) -> None:
    p = policy(default=1.0)
    generation = (await at.read(p)).generation
    await at.store.forget(p.spec.name, [p.namespace], decision(p).scope)
    with pytest.raises(Forgotten):
        await at.decide(p, decision(p), generation=generation)
    assert (await at.sums(p))["count"] == 0
    await at.decide(p, decision(p), generation=(await at.read(p)).generation)


async def test_a_scope_holds_no_more_arms_than_allowed(at: Harness) -> None:
    p = policy(default=0.0, max_arms=2)
    await at.open(p, "a")
    await at.open(p, "b")
    refused = decision(p, "c")
    with pytest.raises(ArmLimit):
        await at.decide(p, refused, request_id="r")
    await at.open(p, "b")
    assert (await at.store.evidence(p, refused.scope)).arms == ("a", "b")
    assert (await at.read(p, request_id="r")).recorded is None
    assert len(await at.log()) == 3
    with pytest.raises(UnknownDecision):
        await at.reward(p, refused.decision_id, 1.0)


async def test_a_deferred_decision_learns_when_it_is_activated(at: Harness) -> None:
    p = policy(default=-1.0, window_s=60.0)
    made = decision(p, x=[1.0, 2.0], deferred=True)
    assert (await at.decide(p, made)).reward_deadline is None
    assert (await at.sums(p))["count"] == 0
    with pytest.raises(NotActivated):
        await at.reward(p, made.decision_id, 1.0)
    before = (await at.read(p)).now
    deadline = await at.store.activate(p, made.decision_id)
    assert before <= deadline - 60.0 <= (await at.read(p)).now
    assert await at.sums(p) == {"count": 1, "n": 1.0, "r": -1.0, "rr": 1.0, "b": [-1.0, -2.0], "a": [1.0, 2.0, 4.0]}
    assert await at.store.activate(p, made.decision_id) == deadline
    assert (await at.sums(p))["count"] == 1
    assert (await at.reward(p, made.decision_id, 2.0)).status is RewardStatus.APPLIED


async def test_raced_activations_learn_once_and_agree(at: Harness) -> None:
    p = policy(default=1.0)
    of = await at.open(p, deferred=True)
    assert len(set(await asyncio.gather(*(at.store.activate(p, of) for _ in range(16))))) == 1
    assert (await at.sums(p))["count"] == 1


async def test_activating_what_was_not_deferred_gives_its_deadline(at: Harness) -> None:
    p = policy(default=1.0)
    recorded = await at.decide(p, decision(p))
    assert await at.store.activate(p, recorded.decision.decision_id) == recorded.reward_deadline
    assert (await at.sums(p))["count"] == 1


async def test_a_deferred_decision_cannot_be_activated_after_a_window(at: Harness) -> None:
    p = policy(default=1.0, window_s=0.0)
    of = await at.open(p, deferred=True)
    with pytest.raises(ActivatedTooLate):
        await at.store.activate(p, of)
    assert (await at.sums(p))["count"] == 0


async def test_activation_opens_no_arm_too_many(at: Harness) -> None:
    p = policy(default=1.0, max_arms=1)
    deferred = await at.open(p, "b", deferred=True)
    await at.open(p, "a")
    with pytest.raises(ArmLimit):
        await at.store.activate(p, deferred)
    with pytest.raises(NotActivated):
        await at.reward(p, deferred, 1.0)


@pytest.mark.parametrize("text", ["", "0" * 38, "zz" + "0" * 36, "00" + "0" * 37])
async def test_what_is_no_decision_is_unknown(at: Harness, text: str) -> None:
    p = policy()
    unknown = type(decision(p).decision_id)(text)
    with pytest.raises(UnknownDecision):
        await at.reward(p, unknown, 1.0)
    with pytest.raises(UnknownDecision):
        await at.store.activate(p, unknown)


async def test_a_decision_is_unknown_past_its_window_and_grace(at: Harness) -> None:
    p = policy(window_s=0.05, late_grace_s=0.05, aggregate="last")
    of, deferred = await at.open(p), await at.open(p, deferred=True)

    async def unknown() -> bool:
        try:
            await at.reward(p, of, 1.0)
        except UnknownDecision:
            return True
        return False

    await until(unknown)
    with pytest.raises((UnknownDecision, ActivatedTooLate)):
        await at.store.activate(p, deferred)


async def test_activation_prolongs_the_life_of_a_decision(at: Harness) -> None:
    p = policy(window_s=0.8, late_grace_s=0.0)
    recorded = await at.decide(p, decision(p, deferred=True))
    of, made_by = recorded.decision.decision_id, (await at.read(p)).now

    async def half_way() -> bool:
        return bool((await at.read(p)).now > made_by + 0.4)

    async def past_its_first_life() -> bool:
        return bool((await at.read(p)).now > made_by + 0.8)

    await until(half_way)
    await at.store.activate(p, of)
    await until(past_its_first_life)
    assert (await at.reward(p, of, 1.0)).status is RewardStatus.APPLIED


async def test_rules_of_a_later_version_do_not_move_a_deadline(at: Harness) -> None:
    recorded = await at.decide(policy(window_s=60.0), decision(policy()))
    assert await at.store.activate(policy(window_s=LONG), recorded.decision.decision_id) == recorded.reward_deadline
