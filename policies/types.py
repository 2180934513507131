"""Names and arrays that every other package speaks in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

import numpy as np
from numpy.typing import NDArray

PolicyName = NewType("PolicyName", str)
PolicyVersion = NewType("PolicyVersion", int)
Namespace = NewType("Namespace", str)
ScopeId = NewType("ScopeId", str)
ArmId = NewType("ArmId", str)
CandidateId = NewType("CandidateId", str)
DecisionId = NewType("DecisionId", str)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEADER = 6
"""Numbers that stand before b and A in an arm's row of evidence."""


def triangle(dimension: int) -> int:
    """How many numbers the upper triangle of a (dimension, dimension) matrix holds."""
    return dimension * (dimension + 1) // 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What each of m arms has shown, as sums that hold no prior, λ or α.

    A row is ``[version, count, as_of, n, Σr, Σr², b (d), A (d(d+1)/2)]`` in float64: the layout in which the store keeps it.
    An arm nobody has evidence of is a row of zeros.

    Args:
        arms: (m,) distinct arm ids, in the order of the rows.
        rows: (m, 6 + d + d(d+1)/2). ``version`` changes with every write and never repeats; ``count`` is the number of
            decisions that taught the arm; ``as_of`` is the store's time, in microseconds, to which the sums are decayed;
            n is the sum of the decisions' weights (equal to ``count`` without a half-life); A is the upper triangle, row by row.
        dimension: d, the length of a decision's vector.
    """

    arms: tuple[ArmId, ...]
    rows: Floats
    dimension: int

    @property
    def version(self) -> Ints:
        """(m,) version of each row, 0 for an arm without evidence."""
        return self.rows[:, 0].astype(np.int64)

    @property
    def count(self) -> Ints:
        """(m,) decisions that taught each arm."""
        return self.rows[:, 1].astype(np.int64)

    @property
    def weight(self) -> Floats:
        """(m,) n, the sum of those decisions' weights."""
        return self.rows[:, 3]

    @property
    def reward_sum(self) -> Floats:
        """(m,) Σr, weighted."""
        return self.rows[:, 4]

    @property
    def reward_square_sum(self) -> Floats:
        """(m,) Σr², weighted."""
        return self.rows[:, 5]

    @property
    def b(self) -> Floats:
        """(m, d) Σ r·x, weighted."""
        return self.rows[:, HEADER : HEADER + self.dimension]

    @property
    def a(self) -> Floats:
        """(m, d(d+1)/2) upper triangle of Σ x·xᵀ, weighted, row by row."""
        return self.rows[:, HEADER + self.dimension :]


def no_evidence(arms: tuple[ArmId, ...], dimension: int) -> Evidence:
    """Evidence of arms that have shown nothing yet."""
    return Evidence(arms, np.zeros((len(arms), HEADER + dimension + triangle(dimension))), dimension)
