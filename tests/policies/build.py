"""Short ways to say what a test of the policies is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from policies.evidence import add_reward
from policies.spec import PolicySpec
from policies.types import ArmId, Evidence, Floats, Ints, PolicyName, no_evidence


def spec(**fields: Any) -> PolicySpec:
    return PolicySpec(PolicyName("p"), **fields)


def arms(m: int) -> tuple[ArmId, ...]:
    return tuple(ArmId(str(i)) for i in range(m))


def evidence(m: int, dimension: int, terms: Iterable[tuple[int, Sequence[float] | Floats, float]]) -> Evidence:
    """What m arms have shown after decisions (arm, x, reward), without forgetting."""
    sums = no_evidence(arms(m), dimension)
    for arm, x, reward in terms:
        sums.rows[arm] = add_reward(sums.rows[arm], np.asarray(x, float), 1, None, decided_at_us=1, old=None, new=reward)
    return sums


def history(rng: np.random.Generator, m: int, dimension: int, n: int) -> list[tuple[int, Floats, float]]:
    """n random decisions over m arms."""
    return [(int(rng.integers(m)), rng.normal(size=dimension), float(rng.normal())) for _ in range(n)]


def index(*arm_of_candidate: int) -> Ints:
    return np.array(arm_of_candidate, dtype=np.int64)
