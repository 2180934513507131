"""Each algorithm's scores, in closed form and beside another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from policies import epsilon_greedy, lints, linucb, uniform
from policies.posterior import posterior, ridge_prior
from policies.types import Floats, no_evidence
from tests.policies.build import arms, evidence, history, index


def covariance(root: Floats) -> Floats:
    return root.T @ root


def test_linucb_of_a_cold_arm_is_alpha_times_the_length_of_x_over_root_lambda() -> None:
    belief = posterior(ridge_prior(1, 2, 4.0), no_evidence(arms(1), 2))
    found = linucb.scores(belief, np.array([[3.0, 4.0], [0.0, 1.0]]), index(0, 0), alpha=2.0)
    np.testing.assert_allclose(found.score, [5.0, 1.0], rtol=1e-15)
    np.testing.assert_array_equal(found.mean, [0.0, 0.0])
    np.testing.assert_allclose(found.uncertainty, [2.5, 0.5], rtol=1e-15)


def test_linucb_after_one_reward_is_the_hand_computed_bound() -> None:
    belief = posterior(ridge_prior(1, 1, 0.5), evidence(1, 1, [(0, [2.0], 3.0)]))  # A = 4.5, b = 6
    found = linucb.scores(belief, np.array([[1.5]]), index(0), alpha=0.7)
    assert found.mean[0] == pytest.approx(2.0)
    assert found.uncertainty[0] == pytest.approx(np.sqrt(0.5))
    assert found.score[0] == pytest.approx(2.0 + 0.7 * np.sqrt(0.5))


@pytest.mark.parametrize("arm_of", [index(0, 0, 0, 0), index(2, 0, 1, 2)], ids=["one arm", "several"])
def test_every_candidate_is_scored_under_its_own_arm(arm_of: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    m = int(arm_of.max()) + 1
    belief = posterior(ridge_prior(m, 4, 0.2), evidence(m, 4, history(rng, m, 4, 20)))
    X = rng.normal(size=(4, 4))
    found = linucb.scores(belief, X, arm_of, alpha=1.3)
    for k, arm in enumerate(arm_of):
        width = np.sqrt(X[k] @ covariance(belief.root[arm]) @ X[k])
        assert found.mean[k] == pytest.approx(X[k] @ belief.theta[arm])
        assert found.uncertainty[k] == pytest.approx(width)
        assert found.score[k] == pytest.approx(X[k] @ belief.theta[arm] + 1.3 * width)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_linucb_agrees_with_mabwiser_at_lambda_one_cold_arms_included(alpha: float) -> None:
    rng = np.random.default_rng(11)
    m, d = 4, 6
    terms = history(rng, m - 1, d, 60)  # the last arm stays cold
    peer = MAB(list(range(m)), LearningPolicy.LinUCB(alpha=alpha, l2_lambda=1.0))
    peer.fit([arm for arm, _, _ in terms], [r for _, _, r in terms], np.array([x for _, x, _ in terms]))
    belief = posterior(ridge_prior(m, d, 1.0), evidence(m, d, terms))
    for x in rng.normal(size=(20, d)):
        expected = peer.predict_expectations(x[None, :])
        found = linucb.scores(belief, np.tile(x, (m, 1)), np.arange(m), alpha)
        np.testing.assert_allclose(found.score, [expected[arm] for arm in range(m)], rtol=0, atol=1e-9)


def test_thompson_scores_all_candidates_of_an_arm_in_one_drawn_world() -> None:
    rng = np.random.default_rng(5)
    belief = posterior(ridge_prior(2, 3, 0.7), evidence(2, 3, history(rng, 2, 3, 9)))
    X, arm_of = rng.normal(size=(5, 3)), index(1, 0, 1, 1, 0)
    found = lints.scores(belief, X, arm_of, alpha=0.4, seed=99)
    z = np.random.default_rng(99).standard_normal((2, 3))
    worlds = [belief.theta[arm] + 0.4 * belief.root[arm].T @ z[arm] for arm in range(2)]
    np.testing.assert_allclose(found.score, [X[k] @ worlds[arm] for k, arm in enumerate(arm_of)], rtol=1e-12)
    np.testing.assert_array_equal(found.mean, linucb.scores(belief, X, arm_of, 1.0).mean)


def test_thompson_worlds_have_the_posterior_s_mean_and_alpha_squared_covariance() -> None:
    rng = np.random.default_rng(6)
    belief = posterior(ridge_prior(1, 3, 2.0), evidence(1, 3, history(rng, 1, 3, 6)))
    n = 8_000
    drawn = np.array([lints.scores(belief, np.eye(3), index(0, 0, 0), 0.5, seed).score for seed in range(n)])
    expected = 0.25 * covariance(belief.root[0])
    spread = np.sqrt(np.diag(expected))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - belief.theta[0]), 4 * spread / np.sqrt(n))
    np.testing.assert_array_less(np.abs(np.cov(drawn.T) - expected), 6 * np.outer(spread, spread) / np.sqrt(n))


def test_thompson_without_width_is_greedy_and_the_same_seed_scores_the_same() -> None:
    rng = np.random.default_rng(7)
    belief = posterior(ridge_prior(3, 4, 1.0), evidence(3, 4, history(rng, 3, 4, 12)))
    X, arm_of = rng.normal(size=(3, 4)), index(0, 1, 2)
    np.testing.assert_array_equal(lints.scores(belief, X, arm_of, 0.0, 1).score, epsilon_greedy.scores(belief, X, arm_of).score)
    np.testing.assert_array_equal(lints.scores(belief, X, arm_of, 1.0, 8).score, lints.scores(belief, X, arm_of, 1.0, 8).score)
    assert (lints.scores(belief, X, arm_of, 1.0, 8).score != lints.scores(belief, X, arm_of, 1.0, 9).score).all()


def test_greedy_scores_are_the_means() -> None:
    rng = np.random.default_rng(8)
    belief = posterior(ridge_prior(2, 3, 1.0), evidence(2, 3, history(rng, 2, 3, 8)))
    found = epsilon_greedy.scores(belief, np.eye(3)[:2], index(1, 0))
    np.testing.assert_allclose(found.score, [belief.theta[1, 0], belief.theta[0, 1]], rtol=1e-14)
    np.testing.assert_array_equal(found.score, found.mean)
    np.testing.assert_allclose(found.uncertainty, [np.linalg.norm(belief.root[1][:, 0]), np.linalg.norm(belief.root[0][:, 1])])


def test_uniform_knows_nothing() -> None:
    found = uniform.scores(3)
    for column in (found.score, found.mean, found.uncertainty):
        np.testing.assert_array_equal(column, np.zeros(3))
