"""What a version of a policy would have learned from decisions that another version made: vectors and terms, from what was logged. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from events.recompute import numbers
from policies.rewards import Tally, fold
from policies.spec import RewardRules
from policies.types import Floats
from policies.vector import design_matrix
from serving.ports import PublishedPolicy

COLUMNS = ("chosen", "arms", "x", "feature_status")


class Reward(NamedTuple):
    """A reward as it was acknowledged, in time or late."""

    at_us: int
    sequence: int
    reward_id: str
    value: float


class Term(NamedTuple):
    """What an arm learns of a decision.

    Args:
        at_us: when.
        reward: that caused it; None: the default.
        before: what the decision counted for; None: it had taught nothing.
        after: what it counts for from then on.
    """

    at_us: int
    reward: Reward | None
    before: float | None
    after: float


def obstacles(target: PublishedPolicy, source: PublishedPolicy) -> list[str]:
    """What the target needs to know and the log of the source's decisions does not tell."""
    spec, theirs = target.spec, source.spec
    rules, logged = spec.reward, theirs.reward
    found = [f"feature {name} was never logged" for name in target.features if name not in source.features]
    was, now = _transforms(source), _transforms(target)
    found += [
        f"feature {name} is computed by version {now[name]} of its transform; what was logged is of version {was[name]}"
        for name in target.features
        if name in was and name in now and was[name] != now[name]
    ]
    if spec.scope != theirs.scope:
        found.append(f"scope is {spec.scope or 'global'}; decisions were logged by {theirs.scope or 'global'}")
    if (spec.arm_rule, spec.arm) != (theirs.arm_rule, theirs.arm):
        found.append("arms follow another rule than those that were logged")
    if logged.aggregate == "first" and rules.aggregate != "first":
        found.append(f"reward.aggregate is {rules.aggregate}; under first, no more than one reward of a decision was logged")
    if rules.window_s > logged.window_s + logged.late_grace_s:
        found.append(f"reward.window is {rules.window_s:g} s; later than {logged.window_s + logged.late_grace_s:g} s no reward was logged")
    found += [
        f"outcome {name} is worth {worth:g}; it was logged as {logged.outcomes[name]:g}, not by its name"
        for name, worth in rules.outcomes.items()
        if logged.outcomes.get(name, worth) != worth
    ]
    return found


def vectors(target: PublishedPolicy, source: PublishedPolicy, decisions: pa.RecordBatch) -> tuple[Floats, NDArray[np.bool_]]:
    """(n, d) what the target would have learned from, of the chosen candidates; (n,) whether it would have decided at all.

    Args:
        decisions: (n,) of the source, in the columns `COLUMNS`.
    """
    sizes = numbers(pc.list_value_length(decisions["arms"]))
    chosen = np.cumsum(sizes) - sizes + numbers(decisions["chosen"])
    x = numbers(decisions["x"].flatten()).reshape(-1, source.dimension)[chosen]
    columns = [source.features.index(name) for name in target.features]
    raw = x[:, columns]
    status = np.frombuffer(b"".join(decisions["feature_status"].to_pylist()), np.uint8)
    if len(status):
        raw[status.reshape(-1, len(source.features))[chosen][:, columns] != 0] = math.nan
    accepted = np.full(len(raw), True) if target.spec.impute is not None else ~np.isnan(raw).any(axis=1)
    made = np.zeros((len(raw), target.dimension))
    made[accepted] = design_matrix(raw[accepted], target.features, target.spec)
    return made, accepted


def terms(rules: RewardRules, opened_at_us: int, rewards: Sequence[Reward]) -> Iterator[Term]:
    """What a decision teaches under some rules, as the store has it.

    Args:
        opened_at_us: when its window did.
        rewards: all that were acknowledged, in order.
    """
    if rules.default is not None:
        yield Term(opened_at_us, None, None, rules.default)
    tally, before, closes_at = Tally(), rules.default, opened_at_us + round(rules.window_s * 1e6)
    for reward in rewards[:1] if rules.aggregate == "first" else rewards:
        if reward.at_us <= closes_at:
            tally = fold(rules.aggregate, tally, reward.value)
            if tally.value is not None:
                yield Term(reward.at_us, reward, before, tally.value)
            before = tally.value


def _transforms(policy: PublishedPolicy) -> dict[str, int]:
    """Version of the transform that computes a feature, by feature."""
    plan = policy.plan
    return {} if plan is None else {f.name: plan.transforms[f.transform].version for f in plan.features if f.transform is not None}
