"""Bayesian ridge regression, one model per distinct arm, factorised once for a whole slate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from policies.types import HEADER, Evidence, Floats, Ints

WIDE = 16
"""Triangles wider than this are inverted by halves, which turns most of the work into matrix products."""

MANY = 16
"""From this many arms on, one substitution over all of them costs less than a LAPACK call for each."""

SHARES = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
"""Of its trace, what is added to an A that rounding has bent, the first that mends it."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of m arms before their evidence.

    Args:
        a: (m, d, d) symmetric positive definite A₀, or λ > 0 for λI.
        b: (m, d) b₀.
    """

    a: Floats | float
    b: Floats


@dataclass(frozen=True, slots=True)
class Posterior:
    """What m arms are believed to be like: N(θ, A⁻¹) each, up to the noise's scale.

    Args:
        theta: (m, d) mean A⁻¹b.
        root: (m, d, d) lower triangle L⁻¹ of A = L·Lᵀ, so that A⁻¹ = rootᵀ·root and xᵀA⁻¹x = ‖root·x‖².
    """

    theta: Floats
    root: Floats


@lru_cache(maxsize=1024)
def ridge_prior(m: int, dimension: int, ridge: float) -> Prior:
    """The prior λI, 0 of m arms; λ > 0."""
    return Prior(float(ridge), np.broadcast_to(0.0, (m, dimension)))


def posterior(prior: Prior, evidence: Evidence) -> Posterior:
    """Join a prior and evidence of the same m arms, in the same order.

    Raises:
        numpy.linalg.LinAlgError: the evidence's A is far from being a sum of x·xᵀ. NaN in it is one as well, or makes a posterior of NaN
            (LAPACKs differ), whose scores `propensities` refuses.

    Source:
        Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article recommendation", Algorithm 1,
        lines 5-13, with A₀ in the place of I.
    """
    d = evidence.dimension
    A = evidence.rows.take(_square(d), axis=1)
    if isinstance(prior.a, float):
        A[:, :: d + 1] += prior.a
    else:
        A += prior.a.reshape(A.shape)
    root = _inverse(_cholesky(A.reshape(-1, d, d)))
    b = (prior.b + evidence.b)[:, :, None]
    theta = root.transpose(0, 2, 1) @ (root @ b)
    return Posterior(theta[:, :, 0], root)


def joined(posteriors: Sequence[Posterior]) -> Posterior:
    """Posteriors of the same d, one after the other; a single one as it is, not copied."""
    if len(posteriors) == 1:
        return posteriors[0]
    return Posterior(np.concatenate([p.theta for p in posteriors]), np.concatenate([p.root for p in posteriors]))


@lru_cache(maxsize=256)
def _square(dimension: int) -> Ints:
    """(d²,) columns of a row of evidence that hold the whole matrix A, from the upper triangle that is stored."""
    upper = np.zeros((dimension, dimension), dtype=np.int64)
    i, j = np.triu_indices(dimension)
    upper[i, j] = np.arange(len(i))
    return (np.maximum(upper, upper.T) + HEADER + dimension).ravel()


def _cholesky(A: Floats) -> Floats:
    """(m, d, d) lower L of A = L·Lᵀ.

    Sums of huge features round by more than λ (1e6 squared, some thousand times, by more than 1), and A may cease to be positive
    definite. Then the narrowest ridge that mends it is added, as a share of A's trace: still below anything such sums can tell.
    n additions round by n/2⁵³ of the sum at most, and by no more of the trace in any direction: `SHARES` mend some 10¹³ decisions.
    """
    try:
        return cast(Floats, np.linalg.cholesky(A))
    except np.linalg.LinAlgError:
        if len(A) > 1:  # what one arm needs must change no other
            return np.concatenate([_cholesky(A[m : m + 1]) for m in range(len(A))])
        if not np.isfinite(A).all():
            raise
    trace = np.trace(A, axis1=1, axis2=2)[:, None, None] * np.eye(A.shape[-1])
    for share in SHARES[:-1]:
        with suppress(np.linalg.LinAlgError):
            return cast(Floats, np.linalg.cholesky(A + share * trace))
    return cast(Floats, np.linalg.cholesky(A + SHARES[-1] * trace))


def _inverse(L: Floats) -> Floats:
    """(m, d, d) inverses of lower triangles: [[P, 0], [S, Q]]⁻¹ = [[P⁻¹, 0], [-Q⁻¹·S·P⁻¹, Q⁻¹]]."""
    m, d, _ = L.shape
    if d <= WIDE:
        return _substitute(L) if m >= MANY else cast(Floats, np.linalg.solve(L, _identity(d)))
    half = d // 2
    upper, lower = L[:, :half, :half], L[:, half:, half:]
    if d % 2:
        P, Q = _inverse(upper), _inverse(lower)
    else:  # alike in shape, so at once
        both = _inverse(np.concatenate([upper, lower]))
        P, Q = both[:m], both[m:]
    R: Floats = np.zeros_like(L)
    R[:, :half, :half] = P
    R[:, half:, half:] = Q
    np.matmul(-Q, L[:, half:, :half] @ P, out=R[:, half:, :half])
    return R


@lru_cache(maxsize=WIDE)
def _identity(d: int) -> Floats:
    return np.eye(d)


def _substitute(L: Floats) -> Floats:
    """The same by forward substitution, row by row, over all m at once."""
    R = np.zeros_like(L)
    pivot = 1.0 / np.diagonal(L, axis1=1, axis2=2)
    scaled = L * -pivot[:, :, None]
    R[:, 0, 0] = pivot[:, 0]
    for i in range(1, L.shape[-1]):
        np.matmul(scaled[:, i : i + 1, :i], R[:, :i, :i], out=R[:, i : i + 1, :i])
        R[:, i, i] = pivot[:, i]
    return R
