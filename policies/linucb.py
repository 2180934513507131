"""LinUCB: as good as an arm may plausibly be."""

from __future__ import annotations

from policies.posterior import Posterior
from policies.scores import Scores, estimate
from policies.types import Floats, Ints


def scores(posterior: Posterior, X: Floats, row: Ints, alpha: float) -> Scores:
    """Upper confidence bounds θᵀx + α·sqrt(xᵀA⁻¹x).

    Args:
        posterior: of m distinct arms.
        X: (K, d).
        row: (K,) the row of each candidate's arm in the posterior.
        alpha: width of the bonus, ≥ 0.

    Source:
        Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article recommendation", Algorithm 1,
        line 9 (disjoint models).
    """
    mean, uncertainty = estimate(posterior, X, row)
    return Scores(mean + alpha * uncertainty, mean, uncertainty)
