"""What a client knows of its own calls, and what the evidence must therefore be.

Each reward of a scope is worth another power of four, so the sum of rewards, written in base four, says how often each one counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ooml.bandit.v1 import bandit_pb2 as pb

from policies.types import Floats

FEATURES = ("u", "v")
DIMENSION = len(FEATURES) + 1
ARMS = ("x", "y")
REWARDS = 10
"""Rewards of one scope: the digits of its sum."""
MOST = 4.0 ** (REWARDS - 1)

POLICY = f"""
name: {{name}}
features: [{", ".join(FEATURES)}]
scope: user_id
intercept: true
exploration: 0.5
reward: {{{{range: [0, {MOST:.0f}], default: 0, aggregate: {{name}}}}}}
"""
POLICIES = {name: POLICY.format(name=name) for name in ("first", "sum")}
"""Named for how they aggregate: ``first`` takes one reward of a decision, without an id; ``sum`` up to three, each with one."""


@dataclass(eq=False)
class Reward:
    """One reward the client means to be counted once: its digit, and what was answered first, None while nothing was."""

    digit: int
    reward_id: str
    answer: pb.RewardResponse | None = None

    @property
    def value(self) -> float:
        return 4.0**self.digit


@dataclass(eq=False)
class Decision:
    """One decision the client asked for, by a request it repeats unchanged."""

    request: pb.ScoreRequest
    rewards: list[Reward]
    answer: pb.ScoreResponse | None = None

    @property
    def arm(self) -> str:
        """The chosen one; empty while nothing was answered."""
        return self.answer.candidate_id if self.answer else ""

    @property
    def x(self) -> Floats:
        """(3,) features of the chosen candidate, and the intercept."""
        (features,) = (c.features for c in self.request.candidates if c.id == self.arm)
        return np.array([*(features[name] for name in FEATURES), 1.0])


@dataclass(eq=False)
class Scope:
    """Everything asked of one policy for one person."""

    policy: str
    name: str
    decisions: list[Decision] = field(default_factory=list)
    digits: int = 0

    @property
    def full(self) -> bool:
        return self.digits == REWARDS

    def draw(self, rng: np.random.Generator) -> Decision:
        """A new decision, not sent yet."""
        request = pb.ScoreRequest(policy=self.policy, entities={"user_id": self.name}, request_id=f"q{len(self.decisions)}")
        for arm in ARMS:
            request.candidates.add(id=arm, features=dict(zip(FEATURES, rng.uniform(-1, 1, len(FEATURES)).tolist(), strict=True)))
        several = self.policy == "sum"
        count = min(int(rng.integers(1, 4)), REWARDS - self.digits) if several else 1
        rewards = [Reward(self.digits + k, f"r{k}" if several else "") for k in range(count)]
        self.digits += count
        self.decisions.append(Decision(request, rewards))
        return self.decisions[-1]

    def chose(self, arm: str) -> list[Decision]:
        """The answered decisions for an arm."""
        return [d for d in self.decisions if d.arm == arm]


@dataclass(frozen=True)
class Sums:
    """Evidence of one arm: how many decisions, Σr, (3,) b, and (6,) the upper triangle of A row by row."""

    count: int
    reward_sum: float
    b: Floats
    a: Floats


NOTHING = Sums(0, 0.0, np.zeros(DIMENSION), np.zeros(DIMENSION * (DIMENSION + 1) // 2))


def expected(scope: Scope, arm: str) -> Sums:
    """The evidence when every decision of the record and every reward of it counts once."""
    decisions = scope.chose(arm)
    worth = [sum(r.value for r in d.rewards) for d in decisions]
    X = np.array([d.x for d in decisions]).reshape(-1, DIMENSION)
    return Sums(len(decisions), sum(worth), np.array(worth) @ X, (X.T @ X)[np.triu_indices(DIMENSION)])


def times_counted(reward_sum: float) -> list[int]:
    """How often each reward of a scope is in a sum, by digit; right up to three times."""
    total = int(reward_sum)
    assert total == reward_sum
    return [total >> 2 * digit & 3 for digit in range(REWARDS)] + [total >> 2 * REWARDS]


def check_promises(scope: Scope, arm: str, count: int, reward_sum: float) -> None:
    """Fail unless every answered call is in an arm's evidence once, and every unanswered one at most once."""
    decisions = scope.chose(arm)
    unanswered = [d for d in scope.decisions if d.answer is None]
    assert len(decisions) <= count <= len(decisions) + len(unanswered), (scope.policy, scope.name, arm)
    allowed: list[set[int]] = [{0}] * (REWARDS + 1)
    for reward in _rewards(decisions):
        allowed[reward.digit] = {0, 1} if reward.answer is None else {1}
    times = times_counted(reward_sum)
    assert all(n in may for n, may in zip(times, allowed, strict=True)), (scope.policy, scope.name, arm, times, allowed)


def _rewards(decisions: list[Decision]) -> Iterator[Reward]:
    return (reward for decision in decisions for reward in decision.rewards)
