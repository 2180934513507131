"""ε-greedy: the best mean, but for the exploration every choice is mixed with."""

from __future__ import annotations

from policies.posterior import Posterior
from policies.scores import Scores, estimate
from policies.types import Floats, Ints


def scores(posterior: Posterior, X: Floats, row: Ints) -> Scores:
    """Expected rewards θᵀx; ε is the policy's ``exploration``, mixed in where propensities are made.

    Args:
        posterior: of m distinct arms.
        X: (K, d).
        row: (K,) the row of each candidate's arm in the posterior.
    """
    mean, uncertainty = estimate(posterior, X, row)
    return Scores(mean, mean, uncertainty)
