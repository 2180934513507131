"""From a request's candidates to what a policy can choose from: arms, vectors, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from features.reader import Lookup, assemble, lookup
from policies.types import ArmId, Floats, Ints, ScopeId
from policies.vector import design_matrix, feature_names
from serving.ports import PublishedPolicy, Row, Snapshot
from serving.service.commands import Score
from serving.service.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from serving.service.validate import MAX_MAGNITUDE, identifier

GLOBAL = ScopeId("global")
PRESENT, MISSING, EXPIRED = 0, 1, 2
NO_LABEL = "missing"
"""The arm of candidates whose arm feature is not known."""


@dataclass(frozen=True, slots=True)
class Features:
    """The raw features of a slate.

    Args:
        x: (K, F) float64, NaN where absent.
        status: (K, F) uint8, PRESENT, MISSING or EXPIRED.
        labels: values of string features, by name: (K,) each, None where absent.
    """

    x: Floats
    status: NDArray[np.uint8]
    labels: dict[str, tuple[str | None, ...]]


def scope_of(policy: PublishedPolicy, request: Score) -> tuple[ScopeId, list[FieldViolation]]:
    """Whose evidence a request reads, and the violation when it does not say."""
    key = policy.spec.scope
    if key is None:
        return GLOBAL, []
    if key not in request.entities:
        return GLOBAL, [FieldViolation(f"entities[{key!r}]", f"required: policy {policy.spec.name} keeps evidence per {key}")]
    return ScopeId(request.entities[key]), []


class FeatureSource:
    """How one request's features are found: the rows to read, and what becomes of them.

    Raises InvalidRequest with everything the features' definitions refuse.
    """

    def __init__(self, policy: PublishedPolicy, request: Score) -> None:
        self._policy = policy
        self._request = request
        self._lookup: Lookup | None = None
        self.violations: list[FieldViolation] = []
        if policy.plan is None:
            self.violations.extend(islice(_unknown_names(policy, request), MAX_VIOLATIONS + 1))
        else:
            self._lookup = lookup(policy.plan, request.entities, [c.entities for c in request.candidates])
            self.violations.extend(FieldViolation(path, text) for path, text in self._lookup.violations)
            self.violations.extend(islice(_unknown_names(policy, request), MAX_VIOLATIONS + 1))

    @property
    def rows(self) -> Sequence[Row]:
        """Distinct rows of the online store that the request needs."""
        return self._lookup.rows if self._lookup is not None else ()

    def features(self, snapshot: Snapshot, request_time: float) -> Features:
        """Raw features once the rows are read."""
        request = self._request
        if self._policy.plan is None or self._lookup is None:
            return _sent(self._policy.features, request)
        table = assemble(
            self._policy.plan,
            self._lookup,
            snapshot.rows,
            request_time,
            request.utc_offset_s,
            request.context,
            [c.features for c in request.candidates],
        )
        return Features(table.x, table.status, dict(table.labels))


def arms_before_read(policy: PublishedPolicy, request: Score) -> list[ArmId] | None:
    """The (K,) arms of a slate as far as the request alone tells; None when they follow from features that are stored."""
    spec = policy.spec
    if spec.arm_rule == "feature":
        return None
    fixed = ArmId(spec.arm or "")
    return [ArmId(c.arm) if c.arm else (fixed if spec.arm_rule == "fixed" else ArmId(c.id)) for c in request.candidates]


def arms_by_feature(policy: PublishedPolicy, request: Score, features: Features) -> list[ArmId]:
    """The (K,) arms of a slate whose policy names a feature: the label itself, or the number in its shortest form."""
    name = policy.spec.arm or ""
    if name in features.labels:
        labels = [label or NO_LABEL for label in features.labels[name]]
    else:
        labels = [NO_LABEL if math.isnan(v) else f"{v:.15g}" for v in features.x[:, policy.features.index(name)].tolist()]
    arms = [ArmId(c.arm or label) for c, label in zip(request.candidates, labels, strict=True)]
    violations = [v for k, arm in enumerate(arms) for v in identifier(f"candidates[{k}].arm", arm)]
    if violations:
        raise InvalidRequest(violations)
    return arms


def distinct(arms: Sequence[ArmId]) -> tuple[tuple[ArmId, ...], Ints]:
    """The (m,) distinct arms in order of appearance, and the (K,) index of each candidate's."""
    index: dict[ArmId, int] = {}
    of = [index.setdefault(arm, len(index)) for arm in arms]
    return tuple(index), np.array(of, dtype=np.int64)


def vectors(policy: PublishedPolicy, request: Score, features: Features) -> Floats:
    """The (K, d) vectors a policy scores.

    Raises:
        InvalidRequest: a feature is not present and the policy rejects that, or a number is too large to learn from.
    """
    spec = policy.spec
    if spec.impute is None and features.status.any():
        raise InvalidRequest(_absent(policy, request, features))
    x = design_matrix(features.x, policy.features, spec)
    if not np.abs(x).max(initial=0.0) <= MAX_MAGNITUDE:
        columns = feature_names(spec, policy.features)
        raise InvalidRequest(
            FieldViolation(f"candidates[{k}]", f"feature {columns[j]} must be within ±{MAX_MAGNITUDE:g}, got {x[k, j]:g}")
            for k, j in np.argwhere(~(np.abs(x) <= MAX_MAGNITUDE)).tolist()
        )
    return x


def _absent(policy: PublishedPolicy, request: Score, features: Features) -> Iterator[FieldViolation]:
    words = {MISSING: "missing", EXPIRED: "expired"}
    for k, j in np.argwhere(features.status != PRESENT).tolist():
        what = f"feature {policy.features[j]} is {words[int(features.status[k, j])]}, and policy {policy.spec.name} rejects that"
        yield FieldViolation(f"candidates[{k}]", what)


def _unknown_names(policy: PublishedPolicy, request: Score) -> Iterator[FieldViolation]:
    if not request.context and not any(c.features for c in request.candidates):
        return
    known = policy.features if policy.plan is None else policy.plan.request_fields
    allowed = frozenset(known)
    sent = [("context", request.context)] + [(f"candidates[{k}].features", c.features) for k, c in enumerate(request.candidates)]
    for path, numbers in sent:
        for name in numbers:
            if name not in allowed:
                listed = ", ".join(known) or "none: all of its features are stored"
                yield FieldViolation(
                    f"{path}[{name!r}]", f"policy {policy.spec.name} takes no such feature from callers; it takes {listed}"
                )


def _sent(names: Sequence[str], request: Score) -> Features:
    """Features that only callers send; a candidate's own value wins over the context's."""
    context = [request.context.get(name, math.nan) for name in names]
    x = np.array([context] * len(request.candidates), dtype=np.float64)
    for k, candidate in enumerate(request.candidates):
        if candidate.features:
            x[k] = [candidate.features.get(name, shared) for name, shared in zip(names, context, strict=True)]
    return Features(x, np.isnan(x).astype(np.uint8), {})
