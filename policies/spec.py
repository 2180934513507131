"""A policy as its owner declares it: a pure value, and the hash of what its evidence depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from policies.duration import duration_text
from policies.types import Namespace, PolicyName

Aggregate = Literal["first", "last", "sum", "max", "min", "mean"]
ArmRule = Literal["candidate", "fixed", "feature"]
Algorithm = Literal["linucb", "lints", "epsilon_greedy", "uniform"]

TUNED: tuple[Algorithm, ...] = ("linucb", "lints")
"""Algorithms that have an α."""

MAX_DIMENSION = 128
"""Longest vector a policy may learn from, products and intercept included."""


@dataclass(frozen=True, slots=True)
class RewardRules:
    """What a reward may be and how several of them make one.

    Args:
        low, high: inclusive range of every single value; within ±1e9.
        outcomes: name → value, for clients that say what happened and not what it is worth.
        window_s: seconds from activation in which a reward teaches; 1 s to 90 days.
        late_grace_s: seconds after the window in which a reward is still recorded, though not learned; at most 365 days.
        default: value learned the moment a decision is active, within the range; None: only answers teach.
        aggregate: how the rewards of one decision combine.
    """

    low: float = 0.0
    high: float = 1.0
    outcomes: Mapping[str, float] = field(default_factory=dict)
    window_s: float = 7 * 86_400.0
    late_grace_s: float = 7 * 86_400.0
    default: float | None = 0.0
    aggregate: Aggregate = "first"


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """One policy: what it looks at, whose evidence it reads, how it chooses, what a reward means.

    A declaration is held to the ranges given here (`policies.bounds` says why they are what they are).

    Args:
        name: lower-case identifier.
        feature_service: Feast feature service that gives the ordered features; None when ``features`` names them.
        features: ordered features that only callers send; empty when ``feature_service`` is given.
        scope: join key whose value names whose evidence is read; None: ``global``, one shared by all.
        arm_rule: ``candidate``: each candidate id is its own arm; ``fixed``: every candidate is arm ``arm``; ``feature``: the arm is
            the value of the feature ``arm``.
        arm: the fixed arm's name or the feature's, None for ``candidate``.
        interactions: products appended to x, each a tuple of 2 to 16 feature names.
        intercept: whether a constant 1 is appended to x (last).
        algorithm: ``linucb``, ``lints``, ``epsilon_greedy`` or ``uniform``.
        alpha: width of LinUCB's bonus or of Thompson sampling's posterior (its v); unused by the others. From 0 to 1e9.
        ridge: λ of the prior λI when no trained prior is published; 1e-9 to 1e9.
        exploration: ε, the floor mixed into every choice; in [0, 1].
        half_life_s: seconds in which evidence loses half its weight, 1 s or more; None: never forgets.
        impute: value for a feature that is not present, within ±1e6; None: such a request is rejected.
        max_arms: arms a scope may hold.
        idle_s: seconds after which a scope nobody touched is dropped, an hour or more; None: never.
    """

    name: PolicyName
    feature_service: str | None = None
    features: tuple[str, ...] = ()
    scope: str | None = None
    arm_rule: ArmRule = "candidate"
    arm: str | None = None
    interactions: tuple[tuple[str, ...], ...] = ()
    intercept: bool = False
    algorithm: Algorithm = "linucb"
    alpha: float = 1.0
    ridge: float = 1.0
    exploration: float = 0.05
    half_life_s: float | None = None
    reward: RewardRules = field(default_factory=RewardRules)
    impute: float | None = 0.0
    max_arms: int = 1000
    idle_s: float | None = 180 * 86_400.0


def to_mapping(spec: PolicySpec) -> dict[str, object]:
    """The policy as a YAML-ready mapping that leaves nothing out; `policies.parse.parse_spec` gives back the policy."""
    source = {"feature_service": spec.feature_service} if spec.feature_service is not None else {"features": list(spec.features)}
    rules = spec.reward
    return {
        "name": str(spec.name),
        **source,
        "scope": spec.scope if spec.scope is not None else "global",
        "arm": {"candidate": "candidate", "fixed": spec.arm, "feature": {"feature": spec.arm}}[spec.arm_rule],
        "interactions": [list(factors) for factors in spec.interactions],
        "intercept": spec.intercept,
        "algorithm": {spec.algorithm: {"alpha": spec.alpha}} if spec.algorithm in TUNED else spec.algorithm,
        "ridge": spec.ridge,
        "exploration": spec.exploration,
        "half_life": duration_text(spec.half_life_s),
        "reward": {
            "range": [rules.low, rules.high],
            "outcomes": dict(rules.outcomes),
            "window": duration_text(rules.window_s),
            "late_grace": duration_text(rules.late_grace_s),
            "default": rules.default,
            "aggregate": rules.aggregate,
        },
        "on_missing": "reject" if spec.impute is None else {"impute": spec.impute},
        "limits": {"arms": spec.max_arms, "idle": duration_text(spec.idle_s)},
    }


def namespace(spec: PolicySpec, features: Sequence[tuple[str, str]], transforms: Sequence[tuple[str, int]]) -> Namespace:
    """Where a policy's evidence lies: a hash of all that shapes the stored sums, and of nothing else.

    Algorithm, α, ε, λ and limits only read evidence (or bound it), so changing them moves no data.

    Args:
        spec: the policy.
        features: ordered names and types of the features that make x, before interactions and intercept.
        transforms: names and versions of the request-time transforms that compute some of them.

    Returns:
        12 hexadecimal digits.
    """
    shapes = {
        "policy": spec.name,
        "features": [list(feature) for feature in features],
        "transforms": sorted(list(transform) for transform in transforms),
        "interactions": spec.interactions,
        "intercept": spec.intercept,
        "impute": spec.impute,
        "scope": spec.scope,
        "arm": [spec.arm_rule, spec.arm],
        "half_life_s": spec.half_life_s,
        "reward": asdict(spec.reward),
    }
    text = json.dumps(_canonical(shapes), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Namespace(hashlib.sha256(text.encode()).hexdigest()[:12])


def _canonical(value: object) -> object:
    """Equal values as equal JSON: 1 as 1.0, -0.0 as 0.0, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0
    return value
