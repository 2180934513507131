"""The posterior in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from policies import linucb
from policies.posterior import Prior, posterior, ridge_prior
from policies.propensity import propensities
from policies.types import HEADER, Floats, no_evidence
from tests.policies.build import arms, evidence, history, index

SHAPES = [(1, 1), (1, 5), (3, 5), (20, 5), (2, 17), (20, 17), (1, 40), (18, 41), (26, 65)]
"""(m, d) on both sides of every way a triangle is inverted."""


def explicit(precision: Floats, b0: Floats, terms: list[tuple[int, Floats, float]], arm: int) -> tuple[Floats, Floats]:
    """A = A₀ + Σ x·xᵀ and b = b₀ + Σ r·x of one arm, one decision after another."""
    A, b = precision.copy(), b0.copy()
    for owner, x, reward in terms:
        if owner == arm:
            A += np.outer(x, x)
            b += reward * x
    return A, b


@pytest.mark.parametrize(("m", "d"), SHAPES)
def test_after_k_updates_it_is_the_explicit_inverse_of_every_arm(m: int, d: int) -> None:
    terms = history(np.random.default_rng(m * d), m, d, 4 * m)
    found = posterior(ridge_prior(m, d, 0.3), evidence(m, d, terms))
    for arm in range(m):
        A, b = explicit(0.3 * np.eye(d), np.zeros(d), terms, arm)
        covariance = found.root[arm].T @ found.root[arm]
        np.testing.assert_allclose(covariance @ A, np.eye(d), atol=1e-9)
        np.testing.assert_allclose(found.theta[arm], np.linalg.solve(A, b), atol=1e-9)
        np.testing.assert_allclose(found.root[arm], np.tril(found.root[arm]), atol=1e-14)


@pytest.mark.parametrize("ridge", [0.01, 1.0, 7.0])
@pytest.mark.parametrize("m", [1, 3, 40])
def test_cold_arms_are_the_prior(m: int, ridge: float) -> None:
    cold = posterior(ridge_prior(m, 4, ridge), no_evidence(arms(m), 4))
    np.testing.assert_array_equal(cold.theta, np.zeros((m, 4)))
    np.testing.assert_allclose(cold.root.transpose(0, 2, 1) @ cold.root, np.broadcast_to(np.eye(4) / ridge, (m, 4, 4)), rtol=1e-15)


def test_a_trained_prior_adds_to_the_evidence_of_its_own_arm() -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(3, 4, 4))
    prior = Prior(factors @ factors.transpose(0, 2, 1) + np.eye(4), rng.normal(size=(3, 4)))
    terms = history(rng, 2, 4, 10)  # arm 2 stays cold
    found = posterior(prior, evidence(3, 4, terms))
    for arm in range(3):
        assert not isinstance(prior.a, float)
        A, b = explicit(prior.a[arm], prior.b[arm], terms, arm)
        np.testing.assert_allclose(found.theta[arm], np.linalg.solve(A, b), rtol=1e-10)
        np.testing.assert_allclose(found.root[arm].T @ found.root[arm], np.linalg.inv(A), rtol=1e-9, atol=1e-12)


def test_neither_prior_nor_evidence_is_changed() -> None:
    seen = evidence(2, 3, history(np.random.default_rng(0), 2, 3, 5))
    prior = Prior(np.stack([np.eye(3)] * 2), np.ones((2, 3)))
    rows = seen.rows.copy()
    posterior(prior, seen)
    posterior(ridge_prior(2, 3, 1.0), seen)
    np.testing.assert_array_equal(seen.rows, rows)
    np.testing.assert_array_equal(prior.a, np.stack([np.eye(3)] * 2))
    np.testing.assert_array_equal(prior.b, np.ones((2, 3)))


def test_sums_so_large_that_rounding_eats_the_prior_still_have_a_posterior() -> None:
    x = 1e6 * np.array([1.0, 1.0 / 3.0, 1.0 / 7.0])
    seen = evidence(1, 3, [(0, x, 1.0)])
    seen.rows[:, 3:] *= 1e5
    A = seen.a[0][[0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(3, 3) + np.eye(3)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(A)
    found = posterior(ridge_prior(1, 3, 1.0), seen)
    assert found.theta[0] @ x == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("column", [HEADER, HEADER + 2], ids=["b", "A"])
def test_no_choice_is_made_from_evidence_that_is_not_a_number(column: int) -> None:
    seen = evidence(1, 2, [(0, [1.0, 2.0], 1.0)])
    seen.rows[0, column] = np.nan
    with pytest.raises((np.linalg.LinAlgError, ValueError)):
        propensities(linucb.scores(posterior(ridge_prior(1, 2, 1.0), seen), np.eye(2), index(0, 0), 1.0).score, [2], 0.0)
