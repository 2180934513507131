"""What a store logs beside its state: enough to audit, rebuild and analyse all it ever learned.

Times are the store's clock in microseconds since the epoch, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.types import ArmId, DecisionId, Floats, Namespace, PolicyName, PolicyVersion, ScopeId
from serving.ports import Decision, Inputs, RewardStatus


@dataclass(frozen=True, slots=True)
class DecisionMade:
    """A decision was recorded: the whole slate.

    Args:
        decision: as the caller made it.
        at_us: when.
        deadline_us: end of its window; None while deferred.
        generation: how often its scope had been forgotten.
        body_hash: of the request; empty without a request_id.
        inputs: what it was made from; None when not known.
    """

    decision: Decision
    at_us: int
    deadline_us: int | None
    generation: int
    body_hash: bytes
    inputs: Inputs | None = None


@dataclass(frozen=True, slots=True)
class Activated:
    """A deferred decision's window opened."""

    decision_id: DecisionId
    at_us: int
    deadline_us: int


@dataclass(frozen=True, slots=True)
class RewardRecorded:
    """A reward was acknowledged.

    Args:
        status: APPLIED or LATE; a DUPLICATE leaves no trace.
        value: as sent.
        reward_id: empty without one.
        occurred_at: seconds since the epoch, as its sender says; None when unsaid.
    """

    decision_id: DecisionId
    reward_id: str
    status: RewardStatus
    value: float
    at_us: int
    occurred_at: float | None


@dataclass(frozen=True, slots=True)
class EvidenceAdded:
    """An arm learned: a decision's term, or a change of its value.

    With w = 2^(-(at - decided_at) / half_life), or 1 without a half-life, and Δ = after - before:
    b += w·Δ·x, Σr += w·Δ, Σr² += w·(after² - before²); when A grew, also A += w·x·xᵀ, n += w, count += 1.

    Args:
        grew: whether A did: the decision's first term.
        before: value the decision counted for until then; 0 when ``grew``.
        after: value it counts for from then on.
        reward_id: of the reward that caused it; empty when it was the default, or the reward has no id.
        version, propensity: of the decision.
        x: (d,).
    """

    decision_id: DecisionId
    reward_id: str
    version: PolicyVersion
    propensity: float
    arm: ArmId
    grew: bool
    before: float
    after: float
    at_us: int
    decided_at_us: int
    x: Floats


@dataclass(frozen=True, slots=True)
class ScopeForgotten:
    """A scope of one policy was erased on request; everything logged of it before should be, too."""

    policy: PolicyName
    generation: int
    at_us: int


@dataclass(frozen=True, slots=True)
class ScopeDropped:
    """A scope's evidence in one namespace was dropped because nobody had touched it for long."""

    arms: int
    at_us: int


Event = DecisionMade | Activated | RewardRecorded | EvidenceAdded | ScopeForgotten | ScopeDropped


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one commit logged.

    Args:
        epoch: id of the process that wrote; another begins with each restart and fail-over, for it may have lost the end of the last.
        seq: 1, 2, 3 … per shard and epoch, without gaps.
        namespace: empty for `ScopeForgotten`, which means all of a policy's.
        scope: whose commit it was.
        shed: decisions of the shard left out since the entry before, because the log was too full.
        events: in the order in which they happened.
    """

    epoch: str
    seq: int
    namespace: Namespace
    scope: ScopeId
    shed: int
    events: tuple[Event, ...]
