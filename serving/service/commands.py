"""What callers ask of the service and what it answers, free of any wire format.

Field names and paths are those of the contract (``protos/ooml/bandit/v1``). Nothing here is checked: the service checks it all, so
that a caller sees every mistake of a request in one answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from policies.types import CandidateId, Floats, Namespace, PolicyName
from serving.ports import PublishedPolicy, Recorded

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Candidate(NamedTuple):
    """One thing that may be chosen. An empty ``arm`` means the policy's rule."""

    id: CandidateId
    arm: str = ""
    entities: Mapping[str, str] = NOTHING
    features: Mapping[str, float] = NOTHING


@dataclass(frozen=True, slots=True)
class Served:
    """The caller already chose: which candidate, with what probability, and when (seconds since the epoch)."""

    candidate_id: CandidateId
    propensity: float
    decided_at: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Ask which candidate a person should get.

    Args:
        request_time: seconds since the epoch at which features are computed; None: now.
        utc_offset_s: the person's local time minus UTC, in seconds.
        request_id: empty: none.
        body_hash: of everything that makes two requests the same; empty without a request_id.
    """

    policy: PolicyName
    candidates: tuple[Candidate, ...]
    entities: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    context: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    request_time: float | None = None
    utc_offset_s: float = 0.0
    request_id: str = ""
    deferred: bool = False
    explain: bool = False
    served: Served | None = None
    body_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer: the decision on record, and the names of its columns.

    Args:
        recorded: what was decided, now or by an earlier request with the same request_id.
        features: (F,) names of the raw features, columns of ``recorded.decision.status``.
        columns: (d,) names of the columns of ``recorded.decision.x``.
        ranking: (K,) indices into the slate, best score first.
    """

    recorded: Recorded
    features: tuple[str, ...]
    columns: tuple[str, ...]
    ranking: tuple[int, ...]


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
