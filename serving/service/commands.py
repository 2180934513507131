"""What callers ask of the service and what it answers, free of any wire format.

Field names and paths are those of the contract (``protos/ooml/bandit/v1``). Nothing here is checked: the service checks it all, so
that a caller sees every mistake of a request in one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from policies.types import CandidateId, Floats, Namespace, PolicyName
from policies.vector import feature_names
from serving.ports import PublishedPolicy, Recorded

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Served:
    """The caller already chose: which candidate, with what probability, and when (seconds since the epoch)."""

    candidate_id: CandidateId
    propensity: float
    decided_at: float | None = None


class Score(NamedTuple):
    """Ask which candidate a person should get.

    Candidates are given in columns, (K,) each: to look at all ids at once takes a tenth of looking at each candidate.

    Args:
        ids: of the candidates.
        arms: of the candidates; an empty one means the policy's rule.
        own_entities, own_features: of each candidate alone; its own win over the shared ones.
        entities, context: shared by all candidates.
        request_time: seconds since the epoch at which features are computed; None: now.
        utc_offset_s: the person's local time minus UTC, in seconds.
        request_id: empty: none.
        body_hash: of everything that makes two requests the same; empty without a request_id.
        message: the request as its caller sent it, for the log alone.
    """

    policy: PolicyName
    ids: Sequence[CandidateId] = ()
    arms: Sequence[str] = ()
    own_entities: Sequence[Mapping[str, str]] = ()
    own_features: Sequence[Mapping[str, float]] = ()
    entities: Mapping[str, str] = NOTHING
    context: Mapping[str, float] = NOTHING
    request_time: float | None = None
    utc_offset_s: float = 0.0
    request_id: str = ""
    deferred: bool = False
    explain: bool = False
    served: Served | None = None
    body_hash: bytes = b""
    message: bytes = b""


class Scored(NamedTuple):
    """The answer: the decision on record.

    Args:
        recorded: what was decided, now or by an earlier request with the same request_id.
        policy: under which.
        ranking: (K,) indices into the slate, best score first.
    """

    recorded: Recorded
    policy: PublishedPolicy
    ranking: Sequence[int]

    @property
    def features(self) -> tuple[str, ...]:
        """(F,) names of the raw features, columns of the decision's status."""
        return self.policy.features

    @property
    def columns(self) -> tuple[str, ...]:
        """(d,) names of the columns of the decision's x."""
        return feature_names(self.policy.spec, self.policy.features)


@dataclass(frozen=True, slots=True)
class Reward:
    """Tell what came of a decision: a value, or the name of an outcome (exactly one). ``reward_id`` may be empty under ``first``."""

    decision_id: str
    value: float | None = None
    outcome: str | None = None
    reward_id: str = ""
    occurred_at: float | None = None


@dataclass(frozen=True, slots=True)
class ArmEvidence:
    """What one arm has shown a scope, and the θ (d,) it leads to under the live version."""

    arm: str
    count: int
    reward_sum: float
    theta: Floats
    version: int


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """A served policy, and the names (d,) of its vector's columns."""

    policy: PublishedPolicy
    columns: tuple[str, ...]

    @property
    def namespace(self) -> Namespace:
        """Where its evidence lies."""
        return self.policy.namespace
