"""Uniform choice: every candidate as likely as the next, whatever is known."""

from __future__ import annotations

import numpy as np

from policies.scores import Scores


def scores(n_candidates: int) -> Scores:
    """Nothing but zeros, (K,) each: all candidates tie, and ties are split evenly."""
    zeros = np.zeros(n_candidates)
    return Scores(zeros, zeros, zeros)
