"""What every algorithm gives back for a slate, and the two estimates they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from policies.posterior import WIDE, Posterior
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


def estimate(posterior: Posterior, X: Floats, row: Ints) -> tuple[Floats, Floats]:
    """Expected reward θᵀx and its width sqrt(xᵀA⁻¹x), each (K,).

    Args:
        posterior: of m distinct arms.
        X: (K, d).
        row: (K,) the row of each candidate's arm in the posterior.
    """
    whitened = _whiten(posterior.root, X, row)
    return project(posterior.theta, X, row), np.sqrt(np.vecdot(whitened, whitened))


def project(theta: Floats, X: Floats, row: Ints) -> Floats:
    """(K,) θᵀx, each candidate under its own arm's row of ``theta`` (m, d)."""
    means: Floats = X @ theta[0] if len(theta) == 1 else np.vecdot(X, theta[row])
    return means


def _whiten(root: Floats, X: Floats, row: Ints) -> Floats:
    """(K, d) root·x of each candidate under its own arm's triangle."""
    m, d = len(root), X.shape[1]
    if m == 1:
        return cast(Floats, X @ root[0].T)
    n, rest = divmod(len(X), m)
    if d < WIDE or rest or np.count_nonzero(row.reshape(n, m) != np.arange(m)):
        return cast(Floats, np.matvec(root[row], X))
    # Slates of all arms in order: each triangle is used where it lies, for wide ones are costly to copy.
    return cast(Floats, (X.reshape(n, m, d).transpose(1, 0, 2) @ root.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(n * m, d))
