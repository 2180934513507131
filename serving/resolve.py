"""From a declared policy and the features there are to a policy that can be served: pure, and complete about what does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from features.plan import Plan
from policies.check import Violation
from policies.parse import SpecError
from policies.spec import MAX_DIMENSION, PolicySpec, namespace
from policies.types import PolicyVersion
from policies.vector import dimension
from serving.ports import PublishedPolicy


def resolve(spec: PolicySpec, plan: Plan | None, version: PolicyVersion = PolicyVersion(1)) -> PublishedPolicy:  # noqa: B008
    """A declared policy over the features there are.

    Args:
        plan: of the spec's feature service; None when there is none, or the spec names none.
        version: under which it is published.

    Raises:
        SpecError: what the spec says does not fit the features, every violation listed.
    """
    if spec.feature_service is None:
        plan = None
    elif plan is None:
        raise SpecError([Violation(("feature_service",), f"no feature service {spec.feature_service!r} is published")])
    features = plan.vector if plan else spec.features
    violations = list(_violations(spec, plan, features))
    if violations:
        raise SpecError(violations)
    types = {f.name: f.dtype for f in plan.features} if plan else dict.fromkeys(features, "float64")
    where = namespace(spec, [(name, types[name]) for name in features], _transforms(plan) if plan else ())
    return PublishedPolicy(spec, version, where, features, dimension(spec, len(features)), plan)


def _transforms(plan: Plan) -> tuple[tuple[str, int], ...]:
    """Names and versions of the transforms that numbers of the vector come from."""
    used = {plan.transforms[f.transform] for f in plan.features if f.transform is not None and f.dtype != "string"}
    return tuple(sorted((ref.name, ref.version) for ref in used))


def _violations(spec: PolicySpec, plan: Plan | None, features: tuple[str, ...]) -> Iterator[Violation]:
    labels = {f.name for f in plan.features if f.dtype == "string"} if plan else set()
    known = {*features, *labels}
    listed = ", ".join(features) or "none"
    if spec.scope in known:
        yield Violation(("scope",), f"{spec.scope} is a feature; a scope is the join key of an entity that callers send, such as user_id")
    if spec.arm_rule == "feature" and spec.arm not in known:
        yield Violation(("arm", "feature"), f"there is no feature {spec.arm}; there are {', '.join(sorted(known)) or 'none'}")
    for i, factors in enumerate(spec.interactions):
        for j, name in enumerate(factors):
            if name in labels:
                yield Violation(("interactions", i, j), f"{name} is a text; only numbers can be multiplied")
            elif name not in known:
                yield Violation(("interactions", i, j), f"there is no feature {name}; there are {listed}")
    d = dimension(spec, len(features))
    if not 1 <= d <= MAX_DIMENSION:
        path = ("feature_service",) if plan else ("features",)
        yield Violation(path, f"the vector would have {d} numbers, interactions and intercept included; it may have 1 to {MAX_DIMENSION}")
