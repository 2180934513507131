"""The probability each candidate is chosen with, and the choice."""

from __future__ import annotations

import numpy as np

from policies.types import Floats

TIE = 1e-12
"""Scores within this share of the largest magnitude are one: equal candidates differ by rounding, according to their place in a slate."""


def propensities(score: Floats, exploration: float) -> Floats:
    """(K,) p = (1-ε)·[best, ties split evenly] + ε/K; sums to 1.

    Args:
        score: (K,) finite, K ≥ 1.
        exploration: ε, the floor mixed into every choice; in [0, 1].

    Raises:
        ValueError: a score is not finite.
    """
    top = np.maximum.reduce(score)  # what `max` calls, without its checks: they cost as much again
    slack = TIE * max(abs(top), abs(np.minimum.reduce(score)))
    if not np.isfinite(slack):
        raise ValueError("scores must be finite")
    best = score >= top - slack
    p: Floats = best * ((1.0 - exploration) / np.count_nonzero(best))
    p += exploration / len(score)
    return p


def draw(propensities: Floats, u: float) -> int:
    """Index of the candidate in whose share of [0, 1) u falls.

    The shares are laid end to end in order and u is stretched to their rounded sum, so a candidate of probability 0 is never chosen.

    Args:
        propensities: (K,) non-negative, at least one positive.
        u: uniform in [0, 1).
    """
    ends = propensities.cumsum()
    total = ends[-1]
    return int(min(ends.searchsorted(u * total, side="right"), ends.searchsorted(total)))
