"""Requests decided together are decided as if each were alone, and what is held of evidence shows nowhere but in the time it takes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from policies.parse import parse_spec
from policies.posterior import WIDE, Posterior, Prior, posterior
from policies.types import CandidateId, Evidence, PolicyName, ScopeId
from serving.memory.catalog import MemoryCatalog
from serving.memory.store import MemoryDecisionStore
from serving.ports import Decision, PublishedPolicy, RewardStatus, Told
from serving.resolve import resolve
from serving.service import beliefs
from serving.service.commands import Score, Scored
from serving.service.deciding import Decider, Sources
from serving.service.errors import InvalidRequest, RequestIdReused
from serving.service.slate import Asked, prepare

D = WIDE
WIDE_FEATURES = [f"f{i}" for i in range(D)]
NARROW_FEATURES = ["f0", "f1"]
ALGORITHMS = ["linucb", "lints", "epsilon_greedy", "uniform"]


def published(name: str = "p", *, width: int = D, default: float | None = None, **declared: Any) -> PublishedPolicy:
    """A policy over f0, f1 ... whose scope is a person."""
    reward = {"range": [-10, 10], "default": default}
    features = [f"f{i}" for i in range(width)]
    return resolve(parse_spec({"name": name, "features": features, "scope": "user_id", "reward": reward, **declared}), None)


class Chance:
    """A generator whose seeds and draws are streams of their own, so that a group takes from each what its requests would alone."""

    def __init__(self, seed: int) -> None:
        self._seeds, self._draws, self._ids = (np.random.default_rng([seed, stream]) for stream in range(3))

    def integers(self, low: int, high: int, size: int) -> Any:
        return self._seeds.integers(low, high, size)

    def random(self, size: int) -> Any:
        return self._draws.random(size)

    def bytes(self, size: int) -> bytes:
        return self._ids.bytes(size)


class World:
    """A store, and deciders over it."""

    def __init__(self, *policies: PublishedPolicy) -> None:
        self.clock = itertools.count(1_700_000_000_000_000, 1000)
        self.store = MemoryDecisionStore(lambda: next(self.clock))
        self.catalog = MemoryCatalog(policies)
        self.chance = Chance(1)

    def decider(self) -> Decider:
        """One that holds nothing yet; its chance is whatever the world's is when it decides."""

        class Now:
            integers = staticmethod(lambda *how: self.chance.integers(*how))
            random = staticmethod(lambda size: self.chance.random(size))

        return Decider(self.store, self.catalog, Sources(lambda: 1.0, cast(np.random.Generator, Now), lambda size: self.chance.bytes(size)))

    async def taught(self, policy: PublishedPolicy, *asked: Asked) -> None:
        """Decide and reward each a few times, so that there is evidence."""
        teacher = self.decider()
        for value in (1.0, -2.0, 3.0):
            for scored in await teacher.decide(asked):
                await self.reward(policy, decision_of(scored), value)

    async def reward(self, policy: PublishedPolicy, decision: Decision, value: float) -> None:
        (outcome,) = await self.store.reward([Told(policy, decision.decision_id, value, None, None)])
        assert not isinstance(outcome, Exception)
        assert outcome.status is RewardStatus.APPLIED


def asking(
    policy: PublishedPolicy, *ids: str, scope: str = "u", seed: int = 0, features: Sequence[Mapping[str, float]] = (), **how: Any
) -> Asked:
    """A request whose candidates are each at a place of their own, unless features are given."""
    rng = np.random.default_rng(seed)
    own = features or [dict(zip(policy.features, rng.normal(size=len(policy.features)).tolist(), strict=True)) for _ in ids]
    request = Score(
        policy=policy.spec.name,
        ids=[CandidateId(name) for name in ids],
        arms=[""] * len(ids),
        own_entities=[{}] * len(ids),
        own_features=own,
        entities={"user_id": scope},
        **how,
    )
    return prepare(policy, request, [])


def decision_of(answer: Scored | Exception) -> Decision:
    if isinstance(answer, Exception):
        raise answer
    return answer.recorded.decision


def assert_same(one: Sequence[Scored | Exception], other: Sequence[Scored | Exception]) -> None:
    """Whether the same was decided for the same reasons, but for rounding."""
    for mine, theirs in zip(map(decision_of, one), map(decision_of, other), strict=True):
        np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-12, atol=1e-12)
        assert mine.x.tobytes() == theirs.x.tobytes()
        bare: dict[str, Any] = {"scores": None, "x": None, "propensity": None}
        assert mine._replace(**bare) == theirs._replace(**bare)
        assert mine.propensity == pytest.approx(theirs.propensity, rel=1e-12)


async def each_alone(decider: Decider, group: Sequence[Asked]) -> list[Scored | Exception]:
    return [answer for asked in group for answer in await decider.decide([asked])]


# Together and alone.


@pytest.mark.parametrize("width", [3, D])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("arm", ["candidate", "shared", {"feature": "f0"}], ids=["an arm each", "one arm", "arms by feature"])
async def test_requests_decided_together_equal_those_decided_alone(width: int, algorithm: str, arm: Any) -> None:
    p = published(width=width, algorithm=algorithm, arm=arm)
    group = [
        asking(p, "a", "b", seed=1),
        asking(p, "c", scope="v", seed=2),
        asking(p, "b", "a", "d", seed=3),
        asking(p, "a", scope="w", seed=4),
        asking(p, "e", "b", "a", scope="v", seed=5),
    ]
    if arm == {"feature": "f0"}:
        for asked in group:
            for k, own in enumerate(asked.request.own_features):
                cast(dict[str, float], own)["f0"] = float(k)
    together, alone = World(p), World(p)
    for world in (together, alone):
        await world.taught(p, *group)
        world.chance = Chance(2)
    assert_same(await together.decider().decide(group), await each_alone(alone.decider(), group))


async def test_two_policies_in_one_group_are_each_decided_by_their_own_rules() -> None:
    narrow, wide = published("narrow", width=2), published("wide", width=D, ridge=5.0)
    group = [
        asking(narrow, "a", "b", seed=1),
        asking(wide, "a", seed=2),
        asking(narrow, "c", scope="v", seed=3),
        asking(wide, "a", "b", seed=4),
    ]
    world = World(narrow, wide)
    for policy in (narrow, wide):
        await world.taught(policy, *(asked for asked in group if asked.policy is policy))
    answers = await world.decider().decide(group)
    alone = await each_alone(world.decider(), group)
    for mine, theirs, asked in zip(map(decision_of, answers), map(decision_of, alone), group, strict=True):
        assert (mine.policy, mine.namespace, mine.x.shape[1]) == (asked.policy.spec.name, asked.policy.namespace, asked.policy.dimension)
        np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-12, atol=1e-12)


BAD: dict[str, Callable[[PublishedPolicy], Asked]] = {
    "a feature is missing": lambda p: asking(
        p, "a", "bad", scope="x", features=[dict.fromkeys(p.features, 1.0), dict.fromkeys(p.features[1:], 1.0)]
    ),
    "a product is too large": lambda p: asking(
        p, "a", "bad", scope="x", features=[dict.fromkeys(p.features, 1.0), dict.fromkeys(p.features, 1e6)]
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("width", [3, D])
@pytest.mark.parametrize("place", [0, 1, 3])
async def test_a_request_that_cannot_be_decided_spares_the_others(bad: str, width: int, place: int) -> None:
    p = published(width=width, interactions=[["f0", "f1"]], on_missing="reject")
    good = [asking(p, "a", "b", seed=1), asking(p, "c", scope="v", seed=2), asking(p, "b", scope="x", seed=3)]
    group = [*good[:place], BAD[bad](p), *good[place:]]
    together, alone = World(p), World(p)
    for world in (together, alone):
        await world.taught(p, *good)
        world.chance = Chance(2)
    answers = await together.decider().decide(group)
    refused = answers.pop(place)
    assert isinstance(refused, InvalidRequest)
    assert [violation.field for violation in refused.violations] == ["candidates[1]"]
    assert_same(answers, await each_alone(alone.decider(), good))


async def test_a_feature_that_names_no_arm_spares_the_other_requests() -> None:
    p = published(width=2, arm={"feature": "f0"}, on_missing="reject")
    group = [
        asking(p, "a", features=[{"f0": 1.0, "f1": 2.0}]),
        asking(p, "a", features=[{"f0": 1.0}]),
        asking(p, "b", features=[{"f0": 2.5, "f1": 0.0}]),
    ]
    first, refused, last = await World(p).decider().decide(group)
    assert isinstance(refused, InvalidRequest)
    assert (decision_of(first).arms, decision_of(last).arms) == (("1",), ("2.5",))


@pytest.mark.parametrize("width", [2, D])
async def test_the_same_request_twice_in_one_group_is_one_decision_and_a_replay(width: int) -> None:
    p = published(width=width, default=1.0)
    world = World(p)
    asked = asking(p, "a", "b", request_id="r", body_hash=b"h")
    first, again, other = await world.decider().decide([asked, asked, asking(p, "a", "b", request_id="q")])
    assert [cast(Scored, answer).recorded.replayed for answer in (first, again, other)] == [False, True, False]
    assert decision_of(first) is decision_of(again)
    assert decision_of(first).decision_id != decision_of(other).decision_id
    assert (await world.store.evidence(p, ScopeId("u"))).count.sum() == 2
    (later,) = await world.decider().decide([asked])
    assert decision_of(later) is decision_of(first)


async def test_another_request_under_the_same_id_in_one_group_is_refused() -> None:
    p = published(width=2, default=1.0)
    world = World(p)
    group = [asking(p, name, request_id="r", body_hash=name.encode()) for name in ("a", "b")]
    first, refused = await world.decider().decide(group)
    assert decision_of(first).candidates == ("a",)
    assert isinstance(refused, RequestIdReused)
    assert (await world.store.evidence(p, ScopeId("u"))).arms == ("a",)


# Beliefs that are held.


@pytest.fixture
def worked_out(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The arms of each call that works out what is believed of them."""
    calls: list[tuple[str, ...]] = []

    def counted(prior: Prior, evidence: Evidence) -> Posterior:
        calls.append(evidence.arms)
        return posterior(prior, evidence)

    monkeypatch.setattr(beliefs, "posterior", counted)
    return calls


async def test_an_arm_is_worked_out_again_only_when_its_evidence_has_changed(worked_out: list[tuple[str, ...]]) -> None:
    p = published()
    world = World(p)
    decider = world.decider()
    await decider.decide([asking(p, "a", "b", "c")])
    await decider.decide([asking(p, "c", "a", seed=1), asking(p, "b", seed=2)])
    assert worked_out == [("a", "b", "c")]
    (answer,) = await decider.decide([asking(p, "b", seed=3)])
    await world.reward(p, decision_of(answer), 1.0)
    await decider.decide([asking(p, "a", "b", "c", "new")])
    assert worked_out == [("a", "b", "c"), ("b", "new")]
    await world.store.forget(p.spec.name, [p.namespace], ScopeId("u"))
    await decider.decide([asking(p, "c", "b", "new")])
    assert worked_out[2:] == [("b",)]
    await decider.decide([asking(p, "a", scope="v")])
    assert worked_out[3:] == [("a",)]


async def test_arms_of_one_scope_are_worked_out_once_for_all_requests_of_a_group(worked_out: list[tuple[str, ...]]) -> None:
    p = published()
    await World(p).decider().decide([asking(p, "a", "b"), asking(p, "b", "c", seed=1), asking(p, "b", scope="v", seed=2)])
    assert worked_out == [("a", "b", "c"), ("b",)]


async def test_a_change_of_ridge_is_followed_at_once() -> None:
    before, after = published(ridge=1.0), published(ridge=30.0)
    assert before.namespace == after.namespace
    world = World(before)
    decider = world.decider()
    await world.taught(before, asking(before, "a", "b", seed=1))
    for policy in (before, after, before):
        world.chance = Chance(2)
        mine = await decider.decide([asking(policy, "a", "b", seed=2)])
        world.chance = Chance(2)
        assert (
            decision_of(mine[0]).scores.tolist()
            == decision_of((await world.decider().decide([asking(policy, "a", "b", seed=2)]))[0]).scores.tolist()
        )


SCOPES = st.sampled_from(["u", "v"])
SLATES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
STEPS = st.one_of(
    st.tuples(st.just("decide"), st.integers(0, 1), st.lists(st.tuples(SCOPES, SLATES), min_size=1, max_size=4)),
    st.tuples(st.just("reward"), st.integers(0, 50), st.floats(-10, 10)),
    st.tuples(st.just("forget"), st.just(0), SCOPES),
)


@settings(max_examples=60)
@given(steps=st.lists(STEPS, min_size=1, max_size=12), algorithm=st.sampled_from(ALGORITHMS), default=st.none() | st.just(1.0))
def test_deciders_that_hold_beliefs_decide_as_those_that_hold_nothing(steps: list[Any], algorithm: str, default: float | None) -> None:
    asyncio.run(lived_through(steps, published(algorithm=algorithm, default=default)))


async def lived_through(steps: list[Any], p: PublishedPolicy) -> None:
    """Two deciders over one store, beside a store whose every group is decided by a new one."""
    holding, fresh = World(p), World(p)
    deciders = [holding.decider(), holding.decider()]
    open_: list[Decision] = []
    for n, (step, which, what) in enumerate(steps):
        if step == "decide":
            group = [asking(p, *slate, scope=scope, seed=100 * n + i) for i, (scope, slate) in enumerate(what)]
            holding.chance, fresh.chance = Chance(n), Chance(n)
            answers = await deciders[which].decide(group)
            assert_same(answers, await fresh.decider().decide(group))
            open_ += map(decision_of, answers)
        elif step == "reward" and open_:
            decision = open_.pop(which % len(open_))
            for world in (holding, fresh):
                await world.reward(p, decision, what)
        elif step == "forget":
            for world in (holding, fresh):
                await world.store.forget(PolicyName("p"), [p.namespace], ScopeId(what))
            open_ = [decision for decision in open_ if decision.scope != what]


async def test_two_versions_that_differ_in_ridge_are_each_decided_by_their_own_in_one_group() -> None:
    before, after = published(ridge=1.0), published(ridge=30.0)
    world = World(before)
    await world.taught(before, asking(before, "a", "b", seed=1))
    group = [asking(before, "a", "b", seed=2), asking(after, "a", "b", seed=3)]
    answers = await world.decider().decide(group)
    for mine, theirs in zip(map(decision_of, answers), map(decision_of, await each_alone(world.decider(), group)), strict=True):
        np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-12, atol=1e-12)
