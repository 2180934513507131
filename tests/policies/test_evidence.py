"""What decisions and their answers add up to."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choose import Slates, choose
from policies.evidence import add_decision, add_reward, decayed
from policies.posterior import posterior, ridge_prior
from policies.types import HEADER, Evidence, Floats, no_evidence, triangle
from tests.policies.build import arms, index, spec

X = np.array([2.0, -1.0])
DAY = 86_400 * 1_000_000
HALF_LIFE_S = 86_400.0


def empty(dimension: int = 2) -> Floats:
    row: Floats = no_evidence(arms(1), dimension).rows[0]
    return row


def sums(row: Floats) -> Floats:
    """All but version and clock."""
    kept: Floats = np.delete(row, [0, 2])
    return kept


def test_a_decision_teaches_its_default_at_once() -> None:
    row = add_decision(empty(), X, 7, None, 0.5)
    assert row.tolist() == [7, 1, 7, 1, 0.5, 0.25, 1.0, -0.5, 4, -2, 1]


def test_an_answer_replaces_the_default() -> None:
    row = add_reward(add_decision(empty(), X, 7, None, 0.5), X, 9, None, decided_at_us=7, old=0.5, new=1.0)
    assert row.tolist() == [8, 1, 9, 1, 1.0, 1.0, 2.0, -1.0, 4, -2, 1]


def test_without_a_default_only_answers_teach() -> None:
    silent = add_decision(empty(), X, 7, None, None)
    assert silent.tolist() == [0] * (HEADER + 2 + triangle(2))
    assert add_reward(silent, X, 9, None, decided_at_us=7, old=None, new=1.0).tolist() == [9, 1, 9, 1, 1, 1, 2, -1, 4, -2, 1]


def test_what_is_added_leaves_the_row_it_was_added_to_alone() -> None:
    row = add_decision(empty(), X, 7, None, 1.0)
    before = row.copy()
    add_reward(row, X, 9, HALF_LIFE_S, decided_at_us=7, old=1.0, new=0.0)
    np.testing.assert_array_equal(row, before)


def test_versions_never_repeat_even_within_a_microsecond() -> None:
    row, seen = empty(), set()
    for _ in range(100):
        row = add_decision(row, X, 5, None, 0.0)
        seen.add(row[0])
    assert len(seen) == 100


def test_after_one_half_life_a_decision_weighs_half() -> None:
    row = add_decision(empty(), X, 0 + DAY, HALF_LIFE_S, 1.0)
    later = decayed(Evidence(arms(1), row[None, :], 2), 2 * DAY, HALF_LIFE_S).rows[0]
    np.testing.assert_array_equal(sums(later), [1, 0.5, 0.5, 0.5, 1, -0.5, 2, -1, 0.5])


def test_an_answer_weighs_as_much_as_its_decision_however_late_it_comes() -> None:
    decided = add_decision(empty(), X, DAY, HALF_LIFE_S, 0.0)
    at_once = add_reward(decided, X, DAY, HALF_LIFE_S, decided_at_us=DAY, old=0.0, new=1.0)
    later = add_reward(decided, X, 4 * DAY, HALF_LIFE_S, decided_at_us=DAY, old=0.0, new=1.0)
    np.testing.assert_allclose(sums(decayed(Evidence(arms(1), at_once[None, :], 2), 4 * DAY, HALF_LIFE_S).rows[0]), sums(later), rtol=1e-15)


def test_a_clock_that_stepped_back_decays_nothing_and_a_decision_of_then_is_old() -> None:
    row = add_decision(empty(), X, 5 * DAY, HALF_LIFE_S, 1.0)
    back = add_decision(row, X, DAY, HALF_LIFE_S, 1.0)
    assert (back[2], back[3]) == (5 * DAY, 1 + 2**-4)


TIMES = st.integers(1, 60 * DAY)
REWARDS = st.floats(-10, 10)


@given(st.lists(st.tuples(TIMES, st.integers(0, 30 * DAY), REWARDS), min_size=2, max_size=4), st.none() | st.floats(3600.0, 3e6), REWARDS)
def test_the_order_in_which_answers_arrive_does_not_matter(
    decisions: list[tuple[int, int, float]], half_life_s: float | None, default: float
) -> None:
    """Whatever the order of answers is: at one time, late ones after later decisions, with a half-life as without."""
    end = 100 * DAY
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(decisions), 3))
    found = []
    for order in permutations(range(len(decisions))):
        row = empty(3)
        now = 0
        for i in sorted(range(len(decisions)), key=lambda i: decisions[i][0]):
            now = decisions[i][0]
            row = add_decision(row, vectors[i], now, half_life_s, default)
        for i in order:
            now = max(now, decisions[i][0] + decisions[i][1])
            row = add_reward(row, vectors[i], now, half_life_s, decided_at_us=decisions[i][0], old=default, new=decisions[i][2])
        found.append(sums(decayed(Evidence(arms(1), row[None, :], 3), end, half_life_s).rows[0]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("default", "least", "most"), [(0.0, 0.43, 0.5), (None, 0.1, 0.2)], ids=["default first", "answers only"])
def test_default_first_removes_the_bias_for_arms_that_seldom_answer(default: float | None, least: float, most: float) -> None:
    """Two arms: one answers 90 % of the time with 0.5 (worth 0.45), the other 10 % with 1 (worth 0.1).

    Learned from answers alone, the second looks twice as good as the first.
    """
    answers, worth = (0.9, 0.1), (0.5, 1.0)
    rng = np.random.default_rng(4)
    rows = no_evidence(arms(2), 1).rows
    policy, prior = spec(alpha=0.5, exploration=0.05), ridge_prior(2, 1, 1.0)
    total, n = 0.0, 2_000
    for now in range(1, n + 1):
        (arm,) = choose(
            policy, posterior(prior, Evidence(arms(2), rows, 1)), Slates(np.ones((2, 1)), [index(0, 1)], [index(0, 1)]), rng
        ).index
        rows[arm] = add_decision(rows[arm], np.ones(1), now, None, default)
        if rng.random() < answers[arm]:
            total += worth[arm]
            rows[arm] = add_reward(rows[arm], np.ones(1), now, None, decided_at_us=now, old=default, new=worth[arm])
    assert least < total / n < most
    believed = posterior(prior, Evidence(arms(2), rows, 1)).theta[:, 0]
    assert int(np.argmax(believed)) == (1 if default is None else 0)
