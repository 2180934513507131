"""What the demo may claim: means with 95 % intervals, and differences between policies that met the same people at the same moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.types import Floats

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and half the width of its 95 % interval."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One policy beats another, by a difference paired person by person; it holds when the whole interval lies above zero."""

    better: str
    worse: str
    difference: Interval

    @property
    def holds(self) -> bool:
        """Whether the data show it."""
        return self.difference.low > 0.0


def interval(values: Floats) -> Interval:
    """Mean of n ≥ 2 independent values, by the central limit theorem.

    Args:
        values: (n,), one a person: what one person's decisions earned depends on one another, what two people's earned does not.
    """
    return Interval(float(values.mean()), _Z95 * float(values.std(ddof=1)) / len(values) ** 0.5)


def share(right: int, of: int) -> Interval:
    """A success rate, by the score interval (its centre, not right/of).

    Source:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    z2 = _Z95**2
    p = right / of
    return Interval((p + z2 / (2 * of)) / (1 + z2 / of), _Z95 * (p * (1 - p) / of + z2 / (4 * of * of)) ** 0.5 / (1 + z2 / of))


def claims(rewards: Mapping[str, Floats]) -> tuple[Claim, ...]:
    """What must show: the hour helps, and learning helps.

    Args:
        rewards: by policy, (n, R) of the same n people at the same R moments.
    """
    per_person = {name: earned.mean(axis=1) for name, earned in rewards.items()}
    pairs = (("tips_hours", "tips"), ("tips_hours", "tips_uniform"), ("tips", "tips_uniform"))
    return tuple(Claim(a, b, interval(per_person[a] - per_person[b])) for a, b in pairs)


def moving_share(right: Floats, window: int) -> tuple[Floats, Floats]:
    """(n - window + 1,) success rate of each `window` trials in a row, and half the width of its interval."""
    sums = np.convolve(right, np.ones(window), mode="valid")
    ends = [share(round(s), window) for s in sums.tolist()]
    return np.array([e.mean for e in ends]), np.array([e.half for e in ends])


def percentile_ms(seconds: Floats, q: float) -> float:
    """The q-th percentile of durations, in milliseconds."""
    return 1e3 * float(np.percentile(seconds, q))
