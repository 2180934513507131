"""Rewards: counted once, aggregated as the policy says, in time or late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from policies.types import Evidence
from serving.ports import ArmLimit, RewardLimit, RewardOutcome, RewardStatus
from tests.store.build import Harness, S, decision, policy, rebuilt, with_version
from tests.store.conftest import until

APPLIED, DUPLICATE, LATE = RewardStatus
AGGREGATES: dict[str, list[float]] = {
    "first": [3, 3, 3, 3],
    "last": [3, -1, 7, 1],
    "sum": [3, 2, 9, 10],
    "max": [3, 3, 7, 7],
    "min": [3, -1, -1, -1],
    "mean": [3, 1, 3, 2.5],
}
"""What rewards of 3, -1, 7 and 1 come to, one after the other."""


@pytest.mark.parametrize("default", [None, 0.0, -2.0])
@pytest.mark.parametrize("aggregate", AGGREGATES)
async def test_every_aggregate_counts_for_what_it_says_after_each_reward(at: Harness, aggregate: str, default: float | None) -> None:
    p = policy(aggregate=aggregate, default=default)
    of = await at.open(p, x=[1.0, 2.0])
    for i, (reward, worth) in enumerate(zip([3.0, -1.0, 7.0, 1.0], AGGREGATES[aggregate], strict=True)):
        status = DUPLICATE if aggregate == "first" and i else APPLIED
        assert await at.reward(p, of, reward, f"r{i}") == RewardOutcome(status, worth)
        assert await at.sums(p) == {
            "count": 1,
            "n": 1.0,
            "r": worth,
            "rr": worth**2,
            "b": [worth, 2 * worth],
            "a": [1.0, 2.0, 4.0],
        }


async def test_an_answer_equal_to_the_default_leaves_the_sums_as_they_were(at: Harness) -> None:
    p = policy(default=0.25)
    of = await at.open(p)
    before = await at.sums(p)
    assert await at.reward(p, of, 0.25) == RewardOutcome(APPLIED, 0.25)
    assert await at.sums(p) == before


async def test_a_reward_id_counts_once(at: Harness) -> None:
    p = policy(aggregate="sum")
    of = await at.open(p)
    assert await at.reward(p, of, 2.0, "é") == RewardOutcome(APPLIED, 2.0)
    assert await at.reward(p, of, 5.0, "e") == RewardOutcome(APPLIED, 7.0)
    assert await at.reward(p, of, 3.0, "é") == RewardOutcome(DUPLICATE, 7.0)
    assert await at.reward(p, of, 1.0) == RewardOutcome(APPLIED, 8.0)
    assert await at.reward(p, of, 1.0) == RewardOutcome(DUPLICATE, 8.0)
    assert (await at.sums(p))["r"] == 8.0


async def test_of_64_copies_of_a_reward_at_once_one_is_applied(at: Harness) -> None:
    p = policy(aggregate="sum")
    of = await at.open(p)
    outcomes = await asyncio.gather(*(at.reward(p, of, 1.0, "r") for _ in range(64)))
    assert sorted(o.status.name for o in outcomes) == ["APPLIED"] + ["DUPLICATE"] * 63
    assert await at.sums(p) == {"count": 1, "n": 1.0, "r": 1.0, "rr": 1.0, "b": [1.0, 2.0], "a": [1.0, 2.0, 4.0]}


@pytest.mark.parametrize("default", [None, 0.5])
async def test_concurrent_updates_equal_the_sequential_sum(at: Harness, default: float | None) -> None:
    p = policy(default=default, dimension=3)
    rng = np.random.default_rng(1)
    xs, values = rng.integers(-8, 9, (60, 3)).astype(float), rng.integers(-8, 9, 60).astype(float)  # exact in any order

    async def one(x: Sequence[float], value: float) -> None:
        await at.reward(p, await at.open(p, x=x), value)

    await asyncio.gather(*(one(x, value) for x, value in zip(xs, values, strict=True)))
    assert await at.sums(p) == {
        "count": 60,
        "n": 60.0,
        "r": values.sum(),
        "rr": (values**2).sum(),
        "b": (values @ xs).tolist(),
        "a": (xs.T @ xs)[np.triu_indices(3)].tolist(),
    }


async def test_sequential_updates_equal_numpys_sums_to_the_last_bit(at: Harness) -> None:
    p = policy(default=None, dimension=4)
    rng = np.random.default_rng(2)
    a, b, r, rr = np.zeros((4, 4)), np.zeros(4), 0.0, 0.0
    for _ in range(25):
        x, value = rng.normal(size=4), float(rng.normal())
        await at.reward(p, await at.open(p, x=x), value)
        a += np.outer(x, x)
        b += value * x
        r += value
        rr += value * value
    sums = await at.sums(p)
    assert (sums["a"], sums["b"], sums["r"], sums["rr"]) == (a[np.triu_indices(4)].tolist(), b.tolist(), r, rr)


async def test_a_reward_after_the_window_is_late_and_teaches_nothing(at: Harness) -> None:
    p = policy(default=0.5, window_s=0.0, aggregate="sum")
    of = await at.open(p)
    before = await at.sums(p)
    assert await at.reward(p, of, 1.0, "r1") == RewardOutcome(LATE, 0.5)
    assert await at.reward(p, of, 1.0, "r1") == RewardOutcome(DUPLICATE, 0.5)
    assert await at.reward(p, of, 1.0, "r2") == RewardOutcome(LATE, 0.5)
    assert await at.sums(p) == before


async def test_a_late_first_reward_is_the_first(at: Harness) -> None:
    p = policy(default=None, window_s=0.0)
    of = await at.open(p)
    assert await at.reward(p, of, 1.0, "r1") == RewardOutcome(LATE, None)
    assert await at.reward(p, of, 2.0, "r2") == RewardOutcome(DUPLICATE, None)


async def test_a_reward_after_one_in_time_says_what_that_one_counts_for(at: Harness) -> None:
    p = policy(aggregate="sum", window_s=0.75)
    of = await at.open(p)
    assert await at.reward(p, of, 2.0, "r1") == RewardOutcome(APPLIED, 2.0)
    deadline = await at.store.activate(p, of)

    async def over() -> bool:
        return bool((await at.read(p)).now > deadline)

    await until(over)
    assert await at.reward(p, of, 3.0, "r2") == RewardOutcome(LATE, 2.0)


async def test_a_decision_takes_a_hundred_rewards(at: Harness) -> None:
    p = policy(aggregate="sum")
    of = await at.open(p)
    for i in range(100):
        await at.reward(p, of, 1.0, f"r{i}")
    with pytest.raises(RewardLimit):
        await at.reward(p, of, 1.0, "r100")
    assert await at.reward(p, of, 1.0, "r7") == RewardOutcome(DUPLICATE, 100.0)
    assert (await at.sums(p))["r"] == 100.0


async def test_late_rewards_count_towards_the_limit(at: Harness) -> None:
    p = policy(aggregate="sum", window_s=0.0)
    of = await at.open(p)
    for i in range(100):
        assert (await at.reward(p, of, 1.0, f"r{i}")).status is LATE
    with pytest.raises(RewardLimit):
        await at.reward(p, of, 1.0, "r100")


async def test_without_a_default_the_first_reward_may_not_open_one_arm_too_many(at: Harness) -> None:
    p = policy(default=None, max_arms=1, aggregate="sum")
    first, second = await at.open(p, "a"), await at.open(p, "b")
    await at.reward(p, second, 1.0, "r")
    with pytest.raises(ArmLimit):
        await at.reward(p, first, 1.0, "r")
    assert (await at.reward(p, second, 1.0, "r2")).value == 2.0
    assert (await at.store.evidence(p, S)).arms == ("b",)


async def test_any_version_of_the_namespace_may_reward(at: Harness) -> None:
    p = policy(default=0.0)
    of = await at.open(p)
    await at.reward(with_version(p, 7), of, 1.0)
    assert (await at.sums(p))["r"] == 1.0


@pytest.mark.parametrize("d", [1, 90, 91, 128])
async def test_a_wide_vector_is_kept_to_the_last_bit(at: Harness, d: int) -> None:
    p = policy(dimension=d, default=0.0)
    x, y = np.random.default_rng(d).normal(size=(2, d))
    first = await at.open(p, x=x)
    await at.open(p, x=y)
    await at.reward(p, first, 0.1)
    evidence: Evidence = (await at.read(p, "a")).evidence
    assert np.array_equal(evidence.a[0], (np.outer(x, x) + np.outer(y, y))[np.triu_indices(d)])
    assert np.array_equal(evidence.b[0], 0.1 * x)


@pytest.mark.parametrize("d", [2, 128])
@pytest.mark.parametrize("default", [None, 0.5])
async def test_with_a_half_life_the_order_of_answers_does_not_matter(at: Harness, default: float | None, d: int) -> None:
    p = policy(half_life_s=0.05, default=default, aggregate="sum", dimension=d)
    x, y = np.random.default_rng(d).normal(size=(2, d))
    first, second = await at.open(p, x=x), await at.open(p, x=y)
    for of, value, reward_id in ((second, 2.0, "1"), (first, -1.0, "1"), (second, 0.5, "2"), (first, 4.0, "2")):
        await at.reward(p, of, value, reward_id)
    snapshot = await at.read(p, "a")
    row = snapshot.evidence.rows[0]
    expected = rebuilt(await at.log(), p, "a", int(row[2]))
    np.testing.assert_allclose(row[1:], expected[1:], rtol=1e-9)
    assert row[2] == round(snapshot.now * 1e6)
    assert 0.0 < row[3] < 2.0


async def test_versions_rise_with_every_write_and_never_repeat(at: Harness) -> None:
    p = policy(default=0.0, aggregate="sum")
    seen: list[int] = []

    async def look() -> None:
        seen.append(int((await at.read(p, "a")).evidence.version[0]))

    await look()
    of = await at.open(p)
    await look()
    await at.reward(p, of, 0.0, "r")
    await look()
    await at.store.forget(p.spec.name, [p.namespace], S)
    await at.decide(p, decision(p), generation=1)
    await look()
    assert seen[0] == 0
    assert seen == sorted(set(seen))
