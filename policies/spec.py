"""A policy as its owner declares it: a pure value, and the hash of what its evidence depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from policies.types import PolicyName

Aggregate = Literal["first", "last", "sum", "max", "min", "mean"]
ArmRule = Literal["candidate", "fixed", "feature"]


@dataclass(frozen=True, slots=True)
class RewardRules:
    """What a reward may be and how several of them make one.

    Args:
        low, high: inclusive range of every single value.
        outcomes: name → value, for clients that say what happened and not what it is worth.
        window_s: seconds from activation in which a reward teaches; at most 90 days.
        late_grace_s: seconds after the window in which a reward is still recorded, though not learned.
        default: value learned the moment a decision is active; None: only answers teach.
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

    Args:
        name: lower-case identifier.
        feature_service: Feast feature service that gives the ordered features; None when ``features`` names them.
        features: ordered features that only callers send; empty when ``feature_service`` is given.
        scope: join key whose value names whose evidence is read; None: ``global``, one shared by all.
        arm_rule: ``candidate``: each candidate id is its own arm; ``fixed``: every candidate is arm ``arm``; ``feature``: the arm is
            the value of the feature ``arm``.
        arm: the fixed arm's name or the feature's, None for ``candidate``.
        interactions: products appended to x, each a tuple of feature names.
        intercept: whether a constant 1 is appended to x (last).
        algorithm: ``linucb``, ``lints``, ``epsilon_greedy`` or ``uniform``.
        alpha: width of LinUCB's bonus or of Thompson sampling's posterior (its v); unused by the others.
        ridge: λ of the prior λI when no trained prior is published.
        exploration: ε, the floor mixed into every choice; in [0, 1].
        half_life_s: seconds in which evidence loses half its weight; None: never forgets.
        impute: value for a feature that is not present; None: such a request is rejected.
        max_arms: arms a scope may hold.
        idle_s: seconds after which a scope nobody touched is dropped; None: never.
    """

    name: PolicyName
    feature_service: str | None = None
    features: tuple[str, ...] = ()
    scope: str | None = None
    arm_rule: ArmRule = "candidate"
    arm: str | None = None
    interactions: tuple[tuple[str, ...], ...] = ()
    intercept: bool = False
    algorithm: Literal["linucb", "lints", "epsilon_greedy", "uniform"] = "linucb"
    alpha: float = 1.0
    ridge: float = 1.0
    exploration: float = 0.05
    half_life_s: float | None = None
    reward: RewardRules = field(default_factory=RewardRules)
    impute: float | None = 0.0
    max_arms: int = 1000
    idle_s: float | None = 180 * 86_400.0
