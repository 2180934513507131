"""The probability each candidate is chosen with, and the choice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from policies.types import Floats, Ints

TIE = 1e-12
"""Scores within this share of the largest magnitude are one: equal candidates differ by rounding, according to their place in a slate."""


def propensities(score: Floats, sizes: Sequence[int], exploration: float) -> Floats:
    """(C,) p = (1-ε)·[best of its slate, ties split evenly] + ε/K; each slate's sum to 1.

    Args:
        score: (C,) finite, of slates laid end to end.
        sizes: (n,) K of each slate, ≥ 1; they add up to C.
        exploration: ε, the floor mixed into every choice; in [0, 1].

    Raises:
        ValueError: a score is not finite.
    """
    if len(sizes) == 1:
        # What `max` calls, without its checks: they cost as much again.
        top = np.maximum.reduce(score)
        slack = TIE * max(abs(top), abs(np.minimum.reduce(score)))
        if not np.isfinite(slack):
            raise ValueError("scores must be finite")
        best = score >= top - slack
        p: Floats = best * ((1.0 - exploration) / np.count_nonzero(best))
        p += exploration / len(score)
        return p
    counts: Ints = np.array(sizes)
    starts = counts.cumsum() - counts
    tops = np.maximum.reduceat(score, starts)
    slacks = TIE * np.maximum(np.abs(tops), np.abs(np.minimum.reduceat(score, starts)))
    if np.count_nonzero(np.isfinite(slacks)) < len(sizes):
        raise ValueError("scores must be finite")
    best = score >= (tops - slacks).repeat(counts)
    p = best * ((1.0 - exploration) / np.add.reduceat(best, starts, dtype=np.float64)).repeat(counts)
    p += (exploration / counts).repeat(counts)
    return p


def draw(propensities: Sequence[float], u: float) -> int:
    """Index of the candidate in whose share of [0, 1) u falls.

    The shares are laid end to end in order and u is stretched to their rounded sum, so a candidate of probability 0 is never chosen.

    Args:
        propensities: (K,) non-negative, at least one positive.
        u: uniform in [0, 1).
    """
    ends = list(accumulate(propensities))
    total = ends[-1]
    return min(bisect_right(ends, u * total), bisect_left(ends, total))
