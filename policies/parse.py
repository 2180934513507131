"""A policy as its owner writes it, checked whole: every mistake of a declaration is found and explained in one pass."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import cast, get_args

from policies import bounds
from policies.check import Check, Path, Violation, shown, unknown
from policies.duration import duration_text
from policies.spec import MAX_DIMENSION, TUNED, Aggregate, Algorithm, ArmRule, PolicySpec, RewardRules, to_mapping
from policies.types import PolicyName
from policies.vector import dimension

__all__ = ["SpecError", "Violation", "parse_spec", "to_mapping"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_ARMS = 1_000_000
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
Section = Mapping[str, object]

_ALPHA = f"a number from 0 to {bounds.MAX_ALPHA:g}"
_RIDGE = f"a number from {bounds.MIN_RIDGE:g} to {bounds.MAX_RIDGE:g}; 1 is usual, more trusts the prior longer"
_REWARD = f"a number within ±{bounds.MAX_REWARD:g}; count rewards in a larger unit if you need more"
_IMPUTED = f"the number that stands for a feature that is not present, within ±{bounds.MAX_FEATURE:g} like every feature"
_FACTORS = f"a list of 2 to {bounds.MAX_FACTORS} feature names, as in [hour_sin, priority]"


class SpecError(ValueError):
    """A declaration that cannot be a policy; ``violations`` lists every mistake in it."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{'.'.join(map(str, v.path)) or 'policy'}: {v.message}" for v in self.violations))


def parse_spec(raw: Mapping[str, object]) -> PolicySpec:
    """The policy that a YAML mapping declares; what it leaves out is as in `PolicySpec`.

    Raises:
        SpecError: with all that is wrong.
    """
    check = Check()
    if not isinstance(raw, Mapping):
        raise SpecError([Violation((), f"a policy is a mapping that begins with `name: ...`; got {shown(raw)}")])
    given = {**DEFAULTS, **check.section((), raw, DEFAULTS)}
    service, features = _source(check, given["feature_service"], given["features"])
    arm_rule, arm = _arm(check, given["arm"], features)
    algorithm, alpha = _algorithm(check, given["algorithm"])
    max_arms, idle_s = _limits(check, given["limits"])
    spec = PolicySpec(
        name=_name(check, given["name"]),
        feature_service=service,
        features=features,
        scope=None if given["scope"] == "global" else check.label(("scope",), given["scope"], "`global` or the name of a join key"),
        arm_rule=arm_rule,
        arm=arm,
        interactions=_interactions(check, given["interactions"], features),
        intercept=check.boolean(("intercept",), given["intercept"]),
        algorithm=algorithm,
        alpha=alpha,
        ridge=check.number(("ridge",), given["ridge"], _RIDGE, low=bounds.MIN_RIDGE, high=bounds.MAX_RIDGE),
        exploration=check.number(("exploration",), given["exploration"], "a number from 0 to 1", low=0.0, high=1.0),
        half_life_s=check.optional_duration(("half_life",), given["half_life"], "1s", low=bounds.MIN_HALF_LIFE_S),
        reward=_reward(check, given["reward"]),
        impute=_on_missing(check, given["on_missing"]),
        max_arms=max_arms,
        idle_s=idle_s,
    )
    _together(check, spec)
    if check.violations:
        raise SpecError(check.violations)
    return spec


def _name(check: Check, value: object) -> PolicyName:
    if isinstance(value, str) and NAME.fullmatch(value):
        return PolicyName(value)
    given = "it is missing" if value is None else f"got {shown(value)}"
    check.refuse(("name",), f"must be a lower-case letter followed by at most 62 of a-z, 0-9 and _; {given}")
    return PolicyName("")


def _source(check: Check, service: object, features: object) -> tuple[str | None, tuple[str, ...]]:
    """Where features come from: a feature service, or callers alone. Exactly one of them."""
    if (service is None) == (features is None):
        given = "neither is given" if service is None else "both are given"
        check.refuse(("feature_service",), f"give either `feature_service` (Feast's) or `features` (only callers send them); {given}")
    name = None if service is None else check.label(("feature_service",), service, "the name of a feature service")
    items = [] if features is None else check.items(("features",), features, "a list of at least 1 feature name", least=1)
    names = tuple(check.label(("features", i), item, "a feature's name") for i, item in enumerate(items))
    for i, item in enumerate(names):
        if item and (first := names.index(item)) < i:
            check.refuse(("features", i), f"{item!r} is already feature {first}; each may be named once")
    return name, names


def _arm(check: Check, value: object, features: tuple[str, ...]) -> tuple[ArmRule, str | None]:
    """`candidate`, `{feature: name}`, or the name of the one arm all candidates are."""
    if isinstance(value, Mapping):
        section = check.section(("arm",), value, ("feature",))
        name = check.label(("arm", "feature"), section.get("feature"), "the name of the feature whose value is the arm")
        _known(check, ("arm", "feature"), name, features)
        return "feature", name
    if value == "candidate":
        return "candidate", None
    return "fixed", check.label(("arm",), value, "`candidate`, `{feature: <name>}` or the name of one fixed arm")


def _interactions(check: Check, value: object, features: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    products: list[tuple[str, ...]] = []
    for i, factors in enumerate(check.items(("interactions",), value, "a list of products, each a list of feature names")):
        path = ("interactions", i)
        names = check.items(path, factors, _FACTORS, least=2, most=bounds.MAX_FACTORS)
        product = tuple(check.label((*path, j), name, "a feature's name") for j, name in enumerate(names))
        for j, name in enumerate(product):
            _known(check, (*path, j), name, features)
        earlier = [sorted(other) for other in products]
        if product and sorted(product) in earlier:
            check.refuse(path, f"is the same product as interaction {earlier.index(sorted(product))}; each may be given once")
        products.append(product)
    return tuple(products)


def _known(check: Check, path: Path, name: str, features: tuple[str, ...]) -> None:
    """Refuse a name that is not among the features, as far as they are known here."""
    if name and features and name not in features:
        check.refuse(path, unknown("feature", name, dict.fromkeys(filter(None, features))))


def _algorithm(check: Check, value: object) -> tuple[Algorithm, float]:
    """A bare name, or `{name: {alpha: ...}}`."""
    settings: object = {}
    if isinstance(value, Mapping):
        if len(value) != 1:
            check.refuse(("algorithm",), f"must name one algorithm, as in {{linucb: {{alpha: 1.0}}}}; got {len(value)}")
            return "linucb", 1.0
        ((value, settings),) = value.items()
    name = cast(Algorithm, check.choice(("algorithm",), value, "algorithm", ALGORITHMS))
    if not name:
        return "linucb", 1.0
    path = ("algorithm", name)
    if name not in TUNED:
        if settings:
            check.refuse(path, f"takes no settings (its exploration is the policy's `exploration`); got {shown(settings)}")
        return name, 1.0
    given = check.section(path, {} if settings is None else settings, ("alpha",))
    return name, check.number((*path, "alpha"), given.get("alpha", 1.0), _ALPHA, low=0.0, high=bounds.MAX_ALPHA)


def _reward(check: Check, value: object) -> RewardRules:
    given = check.section_over(("reward",), value, cast(Section, DEFAULTS["reward"]))
    low, high = _range(check, given["range"])
    within = f"a number within the reward's range [{low:g}, {high:g}]" if low > -math.inf else "a number"
    outcomes = {}
    for name, worth in check.mapping(("reward", "outcomes"), given["outcomes"], "a mapping of outcome names to values").items():
        path = ("reward", "outcomes", str(name))
        outcomes[check.label(path, name, "an outcome's name")] = check.number(path, worth, within, low=low, high=high)
    default = None
    if given["default"] is not None:
        default = check.number(("reward", "default"), given["default"], f"null (only answers teach) or {within}", low=low, high=high)
    return RewardRules(
        low=low,
        high=high,
        outcomes=outcomes,
        window_s=check.duration(
            ("reward", "window"), given["window"], "a duration from 1s to 90d", low=bounds.MIN_WINDOW_S, high=bounds.MAX_WINDOW_S
        ),
        late_grace_s=check.duration(
            ("reward", "late_grace"), given["late_grace"], "a duration from 0 to 365d", high=bounds.MAX_LATE_GRACE_S
        ),
        default=default,
        aggregate=cast(Aggregate, check.choice(("reward", "aggregate"), given["aggregate"], "aggregate", AGGREGATES)),
    )


def _range(check: Check, value: object) -> tuple[float, float]:
    """Lowest and highest reward; everything, when what is given is refused."""
    path = ("reward", "range")
    ends = check.items(path, value, "a list of the lowest and the highest reward, as in [-1, 1]", least=2, most=2)
    if not ends:
        return -math.inf, math.inf
    low, high = (check.number((*path, i), end, _REWARD, low=-bounds.MAX_REWARD, high=bounds.MAX_REWARD) for i, end in enumerate(ends))
    if low >= high:
        check.refuse(path, f"must rise from the lowest to the highest reward; got [{low:g}, {high:g}]")
    return (low, high) if low < high else (-math.inf, math.inf)


def _on_missing(check: Check, value: object) -> float | None:
    """`reject` as None, `{impute: value}` as the value."""
    if value == "reject":
        return None
    if not isinstance(value, Mapping):
        check.refuse(("on_missing",), f"must be `reject` or {{impute: 0.0}}; got {shown(value)}")
        return None
    given = check.section(("on_missing",), value, ("impute",))
    return check.number(("on_missing", "impute"), given.get("impute"), _IMPUTED, low=-bounds.MAX_FEATURE, high=bounds.MAX_FEATURE)


def _limits(check: Check, value: object) -> tuple[int, float | None]:
    """Arms a scope may hold, and seconds until an untouched one is dropped."""
    given = check.section_over(("limits",), value, cast(Section, DEFAULTS["limits"]))
    arms = given["arms"]
    if not isinstance(arms, int) or isinstance(arms, bool) or not 1 <= arms <= MAX_ARMS:
        check.refuse(("limits", "arms"), f"must be a whole number from 1 to {MAX_ARMS}; got {shown(arms)}")
        arms = MAX_ARMS
    return arms, check.optional_duration(("limits", "idle"), given["idle"], "1h", low=bounds.MIN_IDLE_S)


def _together(check: Check, spec: PolicySpec) -> None:
    """What single values cannot show: a scope outlives its open decisions, and x is not too long."""
    kept = spec.reward.window_s + spec.reward.late_grace_s
    if spec.idle_s is not None and spec.idle_s < kept:
        check.refuse(
            ("limits", "idle"),
            f"must be at least reward.window + reward.late_grace, {duration_text(kept)}, or a scope is dropped while rewards may still"
            f" come; got {duration_text(spec.idle_s)}",
        )
    if spec.features and (d := dimension(spec, len(spec.features))) > MAX_DIMENSION:
        check.refuse(("features",), f"x may hold {MAX_DIMENSION} numbers; features, interactions and intercept make {d}")


DEFAULTS: Section = {**to_mapping(PolicySpec(PolicyName(""))), "name": None, "feature_service": None, "features": None}
"""Every key a declaration may hold, and what it means to leave it out."""
