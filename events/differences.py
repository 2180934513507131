"""Evidence as the log has it against evidence as Redis has it, number by number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from events.recompute import Recount, ScopeArm, Sums
from policies.evidence import AS_OF, COUNT, MICROSECONDS, REWARD, VERSION, WEIGHT
from policies.types import HEADER, ArmId, Floats, Namespace, PolicyName, ScopeId
from policies.vector import feature_names
from serving.ports import PublishedPolicy

ROUNDING = 1e-9
"""Of what all terms of a sum come to without their signs: by so much it may be off, as its terms are added in another order."""
_LEAST = float(np.finfo(np.float64).tiny)

Rows = Mapping[Namespace, Mapping[ScopeArm, bytes]]


class Difference(NamedTuple):
    """An arm of which the log and Redis say different things.

    Args:
        number: the one that is off most: ``count``, ``n``, ``b[priority]`` ...; ``row`` when only one of them knows the arm.
        log, redis: what each says it is; of a row, its count; None: nothing.
        more: other numbers of the arm that are off.
    """

    policy: PolicyName
    namespace: Namespace
    scope: ScopeId
    arm: ArmId
    number: str
    log: float | None
    redis: float | None
    more: int = 0


def differences(
    recount: Recount,
    rows: Rows,
    policies: Mapping[Namespace, PublishedPolicy],
    only: Collection[tuple[Namespace, ScopeId]] | None = None,
) -> list[Difference]:
    """All there are, of published policies.

    Args:
        recount: of the log.
        rows: packed, as Redis has them.
        policies: by namespace.
        only: namespaces and scopes to look at; None: all.
    """
    found: list[Difference] = []
    for namespace, policy in policies.items():
        sums, held = recount.sums.get(namespace), rows.get(namespace, {})
        logged = {} if sums is None else {arm: place for arm, place in sums.arms.items() if sums.rows[place, VERSION] > 0}
        if only is not None:
            logged = {arm: place for arm, place in logged.items() if (namespace, arm[0]) in only}
            held = {arm: row for arm, row in held.items() if (namespace, arm[0]) in only}
        say = _Saying(policy)
        for arm, row in held.items():
            if arm not in logged:
                found.append(say.of(arm, "row", None, _count(row)))
        if sums is not None:
            found += [say.of(arm, "row", float(sums.rows[place, COUNT]), None) for arm, place in logged.items() if arm not in held]
            found += _of_both(say, sums, [(arm, place, held[arm]) for arm, place in logged.items() if arm in held])
    return found


class _Saying:
    """Names what differs in the words of a policy."""

    def __init__(self, policy: PublishedPolicy) -> None:
        self._policy = policy
        x = feature_names(policy.spec, policy.features)
        pairs = zip(*np.triu_indices(len(x)), strict=True)
        self.numbers = ("version", "count", "as_of", "n", "Σr", "Σr²", *(f"b[{a}]" for a in x), *(f"A[{x[i]}, {x[j]}]" for i, j in pairs))

    def of(self, arm: ScopeArm, number: str, log: float | None, redis: float | None, more: int = 0) -> Difference:
        return Difference(self._policy.spec.name, self._policy.namespace, *arm, number, log, redis, more)


def _of_both(say: _Saying, sums: Sums, arms: Sequence[tuple[ScopeArm, int, bytes]]) -> Iterator[Difference]:
    width = sums.rows.shape[1]
    for arm, row in ((arm, row) for arm, _, row in arms if len(row) != 8 * width):
        yield say.of(arm, "length of x", float(sums.dimension), _dimension(len(row) // 8))
    same = [(arm, place, row) for arm, place, row in arms if len(row) == 8 * width]
    theirs = np.frombuffer(b"".join(row for _, _, row in same), "<f8").reshape(len(same), width)
    ours, allowed = _as_of(sums, [place for _, place, _ in same], theirs[:, AS_OF])
    with np.errstate(invalid="ignore"):
        by = np.abs(ours - theirs)
        off = ~(by <= allowed)
        # When an arm learned last is not what it learned: after a fail-over the same was learned later than the log first heard of it.
        off[:, (VERSION, AS_OF)] = False
        grave = np.where(off, by / (by + allowed), -1.0)
    for k in np.flatnonzero(off.any(axis=1)).tolist():
        exact = np.flatnonzero(off[k, : COUNT + 1])
        worst = int(exact[0]) if len(exact) else int(np.argmax(grave[k]))
        yield say.of(same[k][0], say.numbers[worst], float(ours[k, worst]), float(theirs[k, worst]), int(off[k].sum()) - 1)


def _as_of(sums: Sums, places: Sequence[int], as_of: Floats) -> tuple[Floats, Floats]:
    """Rows of the log as they weigh at given times, and by how much each of their numbers may be off."""
    rows, sizes = sums.rows[places], sums.sizes[places]
    if sums.half_life_s is not None:
        kept = np.exp2(np.minimum(0.0, rows[:, AS_OF] - as_of) / (sums.half_life_s * MICROSECONDS))[:, None]
        rows[:, WEIGHT:] *= kept
        sizes *= kept
    d = sums.dimension
    i, j = np.triu_indices(d)
    diagonal = np.sqrt(rows[:, HEADER + d :][:, i == j])
    allowed = np.zeros_like(rows)
    allowed[:, WEIGHT] = rows[:, WEIGHT]
    allowed[:, REWARD : HEADER + d] = sizes
    allowed[:, HEADER + d :] = diagonal[:, i] * diagonal[:, j]
    allowed[:, WEIGHT:] = ROUNDING * allowed[:, WEIGHT:] + _LEAST
    return rows, allowed


def _count(row: bytes) -> float:
    return float(np.frombuffer(row, "<f8", 1, 8 * COUNT)[0])


def _dimension(width: int) -> float:
    """Length of the vectors that a row of that many numbers is of."""
    return float((np.sqrt(9 + 8 * (width - HEADER)) - 3) / 2)
