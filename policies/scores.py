"""What every algorithm gives back for a slate, and the two estimates they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.posterior import Posterior
from policies.types import Floats, Ints


@dataclass(frozen=True, slots=True)
class Scores:
    """A slate as an algorithm sees it.

    Args:
        score: (K,) what is maximised.
        mean: (K,) θᵀx, the expected reward.
        uncertainty: (K,) sqrt(xᵀA⁻¹x), the width of that expectation before any α.
    """

    score: Floats
    mean: Floats
    uncertainty: Floats


def estimate(posterior: Posterior, X: Floats, arm_index: Ints) -> tuple[Floats, Floats]:
    """Expected reward θᵀx and its width sqrt(xᵀA⁻¹x), each (K,).

    Args:
        posterior: of m distinct arms.
        X: (K, d).
        arm_index: (K,) the row of each candidate's arm in the posterior.
    """
    mean = project(posterior.theta, X, arm_index)
    root = posterior.root
    whitened = X @ root[0].T if len(root) == 1 else np.matvec(root[arm_index], X)
    return mean, np.sqrt(np.vecdot(whitened, whitened))


def project(theta: Floats, X: Floats, arm_index: Ints) -> Floats:
    """(K,) θᵀx, each candidate under its own arm's row of ``theta`` (m, d)."""
    means: Floats = X @ theta[0] if len(theta) == 1 else np.vecdot(X, theta[arm_index])
    return means
