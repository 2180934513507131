"""How decisions and rewards add up to an arm's evidence: the reference every store agrees with.

A decision that teaches is a term (x, v) of weight w: count += 1, n += w, A += w·x·xᵀ, b += w·v·x, Σr += w·v, Σr² += w·v². A later change
of its value from v to r adds what is missing to b, Σr and Σr² alone. With a half-life h, w = 2^(-age/h) of the decision's age, and the
sums decay alike, so the result does not depend on the order in which terms and changes arrive.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from policies.types import HEADER, Evidence, Floats, Ints

MICROSECONDS = 1_000_000
VERSION, COUNT, AS_OF, WEIGHT, REWARD, SQUARE = range(HEADER)


def add_decision(
    row: Floats, x: Floats, now_us: int, half_life_s: float | None, default: float | None, *, decided_at_us: int | None = None
) -> Floats:
    """The row after a decision became active: it learns (x, default) at once, or nothing when there is no default.

    Args:
        row: (6 + d + d(d+1)/2,) of the chosen arm, zeros when it has none; left as it is.
        x: (d,) of the chosen candidate.
        now_us: the store's time, in microseconds.
        half_life_s: seconds in which a term loses half its weight; None: never.
        default: value learned until an answer comes; None: only answers teach.
        decided_at_us: when the decision was made; None: now.
    """
    if default is None:
        return row.copy()
    return _teach(row, x, None, default, now_us if decided_at_us is None else decided_at_us, now_us, half_life_s)


def add_reward(
    row: Floats, x: Floats, now_us: int, half_life_s: float | None, *, decided_at_us: int, old: float | None, new: float
) -> Floats:
    """The row after a decision's value changed.

    Args:
        row, x, now_us, half_life_s: as in `add_decision`.
        decided_at_us: when the decision was made.
        old: what it counted for until now: its default, or its earlier rewards together; None when it has taught nothing yet.
        new: what it counts for from now on.
    """
    return _teach(row, x, old, new, decided_at_us, now_us, half_life_s)


def decayed(evidence: Evidence, now_us: int, half_life_s: float | None) -> Evidence:
    """The evidence as it weighs now; counts and versions stay. A clock that stepped back decays nothing."""
    if half_life_s is None:
        return evidence
    rows = evidence.rows.copy()
    as_of = rows[:, AS_OF]
    now = np.where(rows[:, VERSION] > 0, np.maximum(as_of, now_us), as_of)
    rows[:, WEIGHT:] *= np.exp2((as_of - now) / (half_life_s * MICROSECONDS))[:, None]
    rows[:, AS_OF] = now
    return Evidence(evidence.arms, rows, evidence.dimension)


def _teach(row: Floats, x: Floats, old: float | None, new: float, decided_at_us: int, now_us: int, half_life_s: float | None) -> Floats:
    """Decay the sums to now, then add a term (``old`` None) or a change to one."""
    row = row.copy()
    now = max(now_us, row[AS_OF])
    weight = 1.0
    if half_life_s is not None:
        per_us = 1.0 / (half_life_s * MICROSECONDS)
        row[WEIGHT:] *= 2.0 ** ((row[AS_OF] - now) * per_us)
        weight = 2.0 ** min(0.0, (decided_at_us - now) * per_us)
    d = len(x)
    if old is None:
        i, j = _upper(d)
        row[COUNT] += 1.0
        row[WEIGHT] += weight
        row[HEADER + d :] += weight * x[i] * x[j]
    before = 0.0 if old is None else old
    row[REWARD] += weight * (new - before)
    row[SQUARE] += weight * (new * new - before * before)
    row[HEADER : HEADER + d] += weight * (new - before) * x
    row[VERSION] = row[VERSION] + 1.0 if row[VERSION] else now_us
    row[AS_OF] = now
    return row


@lru_cache(maxsize=256)
def _upper(dimension: int) -> tuple[Ints, Ints]:
    """Row and column of each number of the upper triangle, row by row."""
    return np.triu_indices(dimension)
