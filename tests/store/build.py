"""Short ways to say what a test of the store is about."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from policies.spec import PolicySpec, RewardRules
from policies.types import HEADER, ArmId, CandidateId, DecisionId, Evidence, Floats, Namespace, PolicyName, PolicyVersion, ScopeId, triangle
from serving.events import EvidenceAdded, LogEntry
from serving.ids import new_decision_id, shard_of
from serving.ports import Decision, DecisionStore, Draft, PublishedPolicy, Query, Recorded, RewardOutcome, Row, Told

R = TypeVar("R")
S = ScopeId("s")
LONG = 3600.0
_entropy = itertools.count(1)


def policy(
    *,
    name: str = "p",
    namespace: str = "0123456789ab",
    dimension: int = 2,
    half_life_s: float | None = None,
    max_arms: int = 1000,
    idle_s: float | None = 180 * 86_400.0,
    **rules: Any,
) -> PublishedPolicy:
    """A policy of that dimension; ``rules`` are fields of RewardRules, over a window and a grace of an hour."""
    reward = RewardRules(**{"low": -10.0, "high": 10.0, "window_s": LONG, "late_grace_s": LONG, **rules})
    features = tuple(f"f{i}" for i in range(dimension))
    spec = PolicySpec(PolicyName(name), features=features, reward=reward, half_life_s=half_life_s, max_arms=max_arms, idle_s=idle_s)
    return PublishedPolicy(spec, PolicyVersion(1), Namespace(namespace), features, dimension, None)


def with_version(published: PublishedPolicy, version: int) -> PublishedPolicy:
    return replace(published, version=PolicyVersion(version))


def decision(
    published: PublishedPolicy, arm: str = "a", *, scope: str = S, x: Sequence[float] | None = None, deferred: bool = False, **fields: Any
) -> Decision:
    """A slate of two whose second candidate was chosen, with that arm and vector (default: 1, 2, 3 ...)."""
    name = published.spec.name
    chosen = np.arange(1.0, published.dimension + 1) if x is None else np.array(x, float)
    entropy = next(_entropy).to_bytes(12, "big")
    made = Decision(
        decision_id=new_decision_id(shard_of(name, ScopeId(scope)), published.namespace, entropy),
        policy=name,
        version=published.version,
        namespace=published.namespace,
        scope=ScopeId(scope),
        candidates=(CandidateId("c0"), CandidateId("c1")),
        arms=(ArmId("other"), ArmId(arm)),
        scores=np.array([[0.125, 0.1, 0.025, 0.25], [0.5, 0.4, 0.1, 0.75]]),
        chosen=1,
        propensity=0.75,
        x=np.stack([np.zeros(published.dimension), chosen]),
        status=b"\0\1\2\0"[: 2 * min(2, published.dimension)],
        request_time=1.5e9,
        seed=0,
        deferred=deferred,
        served=False,
        decided_at_claimed=None,
    )
    return made._replace(**fields)


def same(a: Decision, b: Decision) -> bool:
    """Whether two decisions are equal, arrays and all."""
    arrays: dict[str, Any] = {"x": None, "scores": None}
    return np.array_equal(a.x, b.x) and np.array_equal(a.scores, b.scores) and a._replace(**arrays) == b._replace(**arrays)


@dataclass
class Harness:
    """A store under test, with what a test does beside its port.

    Args:
        store: the adapter.
        log: everything logged so far, per shard in order.
        put_row: makes a feature row.
    """

    store: DecisionStore
    log: Callable[[], Any]
    put_row: Callable[[bytes, dict[bytes, bytes]], Any]
    made: list[Decision] = field(default_factory=list)

    async def read(
        self, published: PublishedPolicy, *arms: str, scope: str = S, rows: Sequence[Row] = (), request_id: str | None = None
    ) -> Any:
        (answer,) = await self.store.read([Query(published, ScopeId(scope), tuple(map(ArmId, arms)), rows, request_id)])
        return answered(answer)

    async def decide(
        self, published: PublishedPolicy, made: Decision, *, request_id: str | None = None, body_hash: bytes = b"", generation: int = 0
    ) -> Recorded:
        (answer,) = await self.store.decide([Draft(published, made, request_id, body_hash, generation)])
        return answered(answer)

    async def open(self, published: PublishedPolicy, arm: str = "a", **how: Any) -> DecisionId:
        """Decide, and return the id."""
        return (await self.decide(published, decision(published, arm, **how))).decision.decision_id

    async def reward(
        self, published: PublishedPolicy, of: DecisionId, value: float, reward_id: str | None = None, occurred_at: float | None = None
    ) -> RewardOutcome:
        (answer,) = await self.store.reward([Told(published, of, value, reward_id, occurred_at)])
        return answered(answer)

    async def sums(self, published: PublishedPolicy, arm: str = "a", scope: str = S) -> dict[str, Any]:
        """What an arm has shown, by name; Σr and the like as plain numbers."""
        evidence: Evidence = (await self.read(published, arm, scope=scope)).evidence
        return {
            "count": int(evidence.count[0]),
            "n": float(evidence.weight[0]),
            "r": float(evidence.reward_sum[0]),
            "rr": float(evidence.reward_square_sum[0]),
            "b": evidence.b[0].tolist(),
            "a": evidence.a[0].tolist(),
        }


def answered(answer: R | Exception) -> R:
    """An answer that is none of those that are errors."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def rebuilt(entries: Iterable[LogEntry], published: PublishedPolicy, arm: str, as_of_us: int, scope: str = S) -> Floats:
    """An arm's row but for its version, from the closed form over the log: Σ 2^(-(as_of - decided_at)/h) · term."""
    d = published.dimension
    row = np.zeros(HEADER + d + triangle(d))
    i, j = np.triu_indices(d)
    for event in (e for entry in entries if entry.scope == scope for e in entry.events):
        if not isinstance(event, EvidenceAdded) or event.arm != arm:
            continue
        half_life = published.spec.half_life_s
        w = 1.0 if half_life is None else 2.0 ** ((event.decided_at_us - as_of_us) / (half_life * 1e6))
        change = event.after - event.before
        row[1] += event.grew
        row[3] += w * event.grew
        row[4] += w * change
        row[5] += w * (event.after**2 - event.before**2)
        row[HEADER : HEADER + d] += w * change * event.x
        row[HEADER + d :] += w * event.grew * event.x[i] * event.x[j]
    row[2] = as_of_us
    return row
