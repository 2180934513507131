"""Linear Thompson sampling: as good as an arm is in one world drawn from the posterior."""

from __future__ import annotations

import numpy as np

from policies.posterior import Posterior
from policies.scores import Scores, estimate, project
from policies.types import Floats, Ints


def scores(posterior: Posterior, X: Floats, row: Ints, alpha: float, seed: int) -> Scores:
    """Rewards θ̃ᵀx under one θ̃ ~ N(θ, α²A⁻¹) per distinct arm.

    Args:
        posterior: of m distinct arms.
        X: (K, d).
        row: (K,) the row of each candidate's arm in the posterior.
        alpha: the paper's v, ≥ 0.
        seed: of the generator the worlds are drawn from; the same seed, arms in the same order, gives the same scores.

    Source:
        Agrawal, Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", Algorithm 1, one model per arm.
    """
    mean, uncertainty = estimate(posterior, X, row)
    z = np.random.default_rng(seed).standard_normal(posterior.theta.shape)
    theta = posterior.theta + alpha * (z[:, None, :] @ posterior.root)[:, 0, :]
    return Scores(project(theta, X, row), mean, uncertainty)
