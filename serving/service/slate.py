"""From requests' candidates to what a policy can choose from: arms, vectors, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.keys import is_integer
from features.program import NO_VIEW
from features.reader import Lookup, Row, assemble, lookup
from features.reader import Slate as FeatureSlate
from policies.remember import remembered
from policies.types import ArmId, Floats, Ints, ScopeId
from policies.vector import design_matrix, feature_names
from serving.ports import PublishedPolicy
from serving.service.commands import Score
from serving.service.errors import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from serving.service.validate import MAX_MAGNITUDE, identifier

GLOBAL = ScopeId("global")
PRESENT, MISSING, EXPIRED = 0, 1, 2
NO_LABEL = "missing"
"""The arm of candidates whose arm feature is not known."""


class Asked(NamedTuple):
    """A request that breaks no rule, and what its decision needs.

    Args:
        policy: under which it is decided.
        request: what was asked.
        scope: whose evidence it reads.
        found: the lookup of its features; None when only callers send them.
        arms: (K,) of its candidates; None when they follow from features that are stored.
    """

    policy: PublishedPolicy
    request: Score
    scope: ScopeId
    found: Lookup | None
    arms: list[ArmId] | None

    @property
    def rows(self) -> Sequence[Row]:
        """Distinct rows of the online store that the request needs."""
        return self.found.rows if self.found is not None else ()


class Features(NamedTuple):
    """The raw features of slates laid end to end.

    Args:
        x: (C, F) float64, NaN where absent.
        status: (C, F) uint8, PRESENT, MISSING or EXPIRED.
        moments: (C, V) event time of each stored row, in seconds since the epoch, NaN where there is none; V = 0 when only callers send.
        sources: (F,) bytes: which of those each feature comes from; 255: none, or several.
        labels: values of string features, by name: (C,) each, None where absent.
    """

    x: Floats
    status: NDArray[np.uint8]
    moments: Floats
    sources: bytes
    labels: Mapping[str, Sequence[str | None]]


def scope_of(policy: PublishedPolicy, text: str) -> ScopeId:
    """Whose evidence a join key's value names. Where the key is a whole number, all ways to write it name the same: 42, 042, +42."""
    return ScopeId(str(int(text))) if _counted(policy) and is_integer(text) else ScopeId(text)


@remembered
def _counted(policy: PublishedPolicy) -> bool:
    """Whether the policy's scope is a join key of whole numbers."""
    keys = [key for view in policy.plan.views for key in view.join_keys] if policy.plan is not None else []
    return any(key.name == policy.spec.scope and key.dtype != "string" for key in keys)


def prepare(policy: PublishedPolicy, request: Score, violations: list[FieldViolation]) -> Asked:
    """Look at a request with its policy's eyes.

    Args:
        violations: what is known to be wrong with the request already.

    Raises:
        InvalidRequest: with these, and everything the policy and its features' definitions refuse.
    """
    scope = GLOBAL
    key = policy.spec.scope
    if key is not None:
        if key in request.entities:
            scope = scope_of(policy, request.entities[key])
        else:
            violations.append(FieldViolation(f"entities[{key!r}]", f"required: policy {policy.spec.name} keeps evidence per {key}"))
    found = None
    if policy.plan is not None:
        found = lookup(policy.plan, request.entities, request.own_entities)
        violations += (FieldViolation(path, text) for path, text in found.violations)
    if request.context or any(request.own_features):
        violations += islice(_unknown_names(policy, request), MAX_VIOLATIONS + 1)
    if violations:
        raise InvalidRequest(violations)
    return Asked(policy, request, scope, found, _arms_before_read(policy, request))


def features_of(asked: Sequence[Asked], rows: Sequence[Sequence[bytes]], times: Sequence[float]) -> Features:
    """Raw features of requests to one policy, laid end to end, once their rows are read.

    Args:
        rows: per request, the rows it asked for, packed.
        times: (n,) of the requests, seconds since the epoch.
    """
    policy = asked[0].policy
    if policy.plan is None:
        parts = [_sent(policy.features, a.request) for a in asked]
        x = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return Features(x, np.isnan(x).astype(np.uint8), np.empty((len(x), 0)), bytes([NO_VIEW]) * x.shape[1], {})
    slates = [
        FeatureSlate(a.found, found, at, a.request.utc_offset_s, a.request.context, a.request.own_features)
        for a, found, at in zip(asked, rows, times, strict=True)
        if a.found is not None
    ]
    table = assemble(policy.plan, slates)
    return Features(table.x, table.status, table.moments, table.sources, table.labels)


def _arms_before_read(policy: PublishedPolicy, request: Score) -> list[ArmId] | None:
    """The (K,) arms of a slate as far as the request alone tells; None when they follow from features that are stored."""
    spec = policy.spec
    if spec.arm_rule == "feature":
        return None
    if spec.arm_rule == "candidate":
        return [ArmId(arm or name) for arm, name in zip(request.arms, request.ids, strict=True)]
    fixed = ArmId(spec.arm or "")
    return [ArmId(arm) or fixed for arm in request.arms]


def arms_by_feature(asked: Asked, features: Features) -> list[ArmId]:
    """The (K,) arms of a slate whose policy names a feature: the label itself, or the number in its shortest form.

    Raises:
        InvalidRequest: a label is no arm's name.
    """
    policy, request = asked.policy, asked.request
    name = policy.spec.arm or ""
    if name in features.labels:
        labels = [label or NO_LABEL for label in features.labels[name]]
    else:
        labels = [NO_LABEL if math.isnan(v) else f"{v:.15g}" for v in features.x[:, policy.features.index(name)].tolist()]
    arms = [ArmId(arm or label) for arm, label in zip(request.arms, labels, strict=True)]
    violations = [v for k, arm in enumerate(arms) for v in identifier(f"candidates[{k}].arm", arm)]
    if violations:
        raise InvalidRequest(violations)
    return arms


def distinct(arms: Sequence[ArmId]) -> tuple[tuple[ArmId, ...], Ints]:
    """The (m,) distinct arms in order of appearance, and the (K,) index of each candidate's."""
    names = tuple(dict.fromkeys(arms))
    if len(names) == 1:
        return names, np.zeros(len(arms), dtype=np.int64)
    if len(names) == len(arms):
        return names, np.arange(len(arms))
    index = {arm: i for i, arm in enumerate(names)}
    return names, np.array([index[arm] for arm in arms], dtype=np.int64)


def vectors(policy: PublishedPolicy, features: Features) -> Floats:
    """The (C, d) vectors a policy scores.

    Raises:
        InvalidRequest: a feature is not present and the policy rejects that, or a number is too large to learn from. Candidates are
            counted from the first of ``features``.
    """
    spec = policy.spec
    if spec.impute is None and np.count_nonzero(features.status):
        raise InvalidRequest(_absent(policy, features))
    x = design_matrix(features.x, policy.features, spec)
    if not np.maximum.reduce(np.abs(x), axis=None, initial=0.0) <= MAX_MAGNITUDE:
        columns = feature_names(spec, policy.features)
        raise InvalidRequest(
            FieldViolation(f"candidates[{k}]", f"feature {columns[j]} must be within ±{MAX_MAGNITUDE:g}, got {x[k, j]:g}")
            for k, j in np.argwhere(~(np.abs(x) <= MAX_MAGNITUDE)).tolist()
        )
    return x


def _absent(policy: PublishedPolicy, features: Features) -> Iterator[FieldViolation]:
    words = {MISSING: "missing", EXPIRED: "expired"}
    for k, j in np.argwhere(features.status != PRESENT).tolist():
        what = f"feature {policy.features[j]} is {words[int(features.status[k, j])]}, and policy {policy.spec.name} rejects that"
        yield FieldViolation(f"candidates[{k}]", what)


def _unknown_names(policy: PublishedPolicy, request: Score) -> Iterator[FieldViolation]:
    known, allowed = _sendable(policy)
    if allowed.issuperset(request.context) and not any(request.own_features):
        return
    listed = ", ".join(known) or "none: all of its features are stored"
    sent = [("context", request.context), *((f"candidates[{k}].features", own) for k, own in enumerate(request.own_features) if own)]
    for path, numbers in sent:
        for name in numbers:
            if name not in allowed:
                yield FieldViolation(
                    f"{path}[{name!r}]", f"policy {policy.spec.name} takes no such feature from callers; it takes {listed}"
                )


@remembered
def _sendable(policy: PublishedPolicy) -> tuple[Sequence[str], frozenset[str]]:
    """Names of the features that callers may send, in order and as a set."""
    known = policy.features if policy.plan is None else policy.plan.request_fields
    return known, frozenset(known)


def _sent(names: Sequence[str], request: Score) -> Floats:
    """(K, F) features that only callers send, NaN where absent; a candidate's own value wins over the context's."""
    context = [request.context.get(name, math.nan) for name in names]
    if not any(request.own_features):
        return np.array(context).reshape(1, -1).repeat(len(request.ids), axis=0)
    return np.array([[own.get(name, shared) for name, shared in zip(names, context, strict=True)] for own in request.own_features])
