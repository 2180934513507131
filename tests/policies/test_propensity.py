"""Probabilities are exact, and draws follow them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from policies import propensity
from policies.propensity import draw
from policies.types import Floats

ALMOST_ONE = float(np.nextafter(1.0, 0.0))
SLATES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6))
SHARES = st.floats(0.0, 1.0)


def propensities(score: Floats, exploration: float) -> Floats:
    """Of one slate; seen to be the same when it is decided together with others."""
    alone = propensity.propensities(score, [len(score)], exploration)
    others = propensity.propensities(np.concatenate([[5.0], score, [0.0, 0.0]]), [1, len(score), 2], exploration)
    np.testing.assert_array_equal(others[1:-2], alone)
    return alone


def test_the_best_gets_all_but_the_floor() -> None:
    np.testing.assert_allclose(propensities(np.array([0.1, 0.9, -3.0, 0.2]), 0.2), [0.05, 0.85, 0.05, 0.05], rtol=1e-15)


def test_ties_share_the_rest_evenly() -> None:
    np.testing.assert_allclose(propensities(np.array([2.0, 1.0, 2.0, 0.0]), 0.2), [0.45, 0.05, 0.45, 0.05], rtol=1e-15)


def test_no_exploration_leaves_the_others_nothing_and_full_exploration_is_uniform() -> None:
    score = np.array([1.0, 3.0, 2.0])
    np.testing.assert_array_equal(propensities(score, 0.0), [0.0, 1.0, 0.0])
    np.testing.assert_allclose(propensities(score, 1.0), [1 / 3] * 3, rtol=1e-15)


def test_one_candidate_is_certain() -> None:
    np.testing.assert_array_equal(propensities(np.array([-7.0]), 0.25), [1.0])


def test_what_rounding_alone_sets_apart_is_a_tie_and_what_is_larger_is_not() -> None:
    np.testing.assert_array_equal(propensities(np.array([0.1 + 0.2, 0.3]), 0.0), [0.5, 0.5])
    np.testing.assert_array_equal(propensities(np.array([1.0, 1.0 - 1e-9]), 0.0), [1.0, 0.0])
    np.testing.assert_array_equal(propensities(np.array([1e-30, 2e-30]), 0.0), [0.0, 1.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        propensities(np.array([1.0, bad, 2.0]), 0.1)


@given(SLATES, SHARES)
def test_they_sum_to_one_and_none_is_under_the_floor(score: Floats, exploration: float) -> None:
    p = propensities(score, exploration)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (p >= exploration / len(score)).all()


@given(SLATES, SHARES, st.randoms(use_true_random=False))
def test_a_candidate_s_probability_does_not_depend_on_its_place(score: Floats, exploration: float, random: object) -> None:
    order = list(range(len(score)))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(propensities(score[order], exploration), propensities(score, exploration)[order])


def test_each_candidate_owns_its_share_of_the_unit_interval() -> None:
    p = np.array([0.25, 0.0, 0.5, 0.25])
    edges = [(0.0, 0), (0.2499, 0), (0.25, 2), (0.7499, 2), (0.75, 3), (ALMOST_ONE, 3)]
    assert [draw(p.tolist(), u) for u, _ in edges] == [index for _, index in edges]


def test_a_draw_never_lands_past_the_last_candidate_that_can_be_chosen() -> None:
    assert draw([0.1] * 10 + [0.0], ALMOST_ONE) == 9  # the shares sum to a little less than 1
    assert draw([0.0, 1.0, 0.0], 0.0) == 1
    assert draw([0.0, 1.0, 0.0], ALMOST_ONE) == 1


@given(arrays(np.float64, st.integers(1, 60), elements=st.just(0.0) | st.floats(1e-9, 1.0)), st.floats(0.0, ALMOST_ONE))
def test_the_impossible_is_never_drawn(weights: Floats, u: float) -> None:
    weights[len(weights) // 2] += 1e-3
    p = weights / weights.sum()
    assert p[draw(p.tolist(), u)] > 0.0
