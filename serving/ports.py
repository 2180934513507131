"""What the service needs of the world, each as a narrow protocol with its promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from features.plan import Plan
from policies.spec import PolicySpec
from policies.types import (
    ArmId,
    CandidateId,
    DecisionId,
    Evidence,
    Floats,
    Namespace,
    PolicyName,
    PolicyVersion,
    ScopeId,
)

Row = tuple[bytes, tuple[bytes, ...]]
"""Key and hash fields of one stored feature row."""


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """One version of a policy, as replicas serve it.

    Args:
        spec: what its owner declared.
        version: 1, 2, 3 … per policy.
        namespace: where its evidence lies; follows from the spec and, with a feature service, the plan.
        features: ordered names of the features that make x, before interactions and intercept.
        dimension: length of x, interactions and intercept included.
        plan: how its features are read; None when only callers send them.
    """

    spec: PolicySpec
    version: PolicyVersion
    namespace: Namespace
    features: tuple[str, ...]
    dimension: int
    plan: Plan | None


class PolicyCatalog(Protocol):
    """The published policies, whole and consistent: a reader sees a publication entirely or not at all."""

    def live(self, name: PolicyName) -> PublishedPolicy | None:
        """The version now served under a name, or None. Never waits: the catalogue follows its source in the background."""

    def names(self) -> tuple[PolicyName, ...]:
        """Names of all served policies, sorted."""

    async def by_namespace(self, namespace: Namespace) -> PublishedPolicy | None:
        """Any version, live or not, whose evidence lies in the namespace. Asks the source again before it answers None."""

    def namespaces(self, name: PolicyName) -> tuple[Namespace, ...]:
        """Every namespace a version of the policy has used."""


class Ranked(NamedTuple):
    """One candidate of a decided slate, in the order of the request."""

    candidate_id: CandidateId
    arm: ArmId
    score: float
    mean: float
    uncertainty: float
    propensity: float


class Decision(NamedTuple):
    """A slate and what was chosen from it: enough to answer the caller again and to log the whole.

    Args:
        decision_id: see ``new_decision_id``.
        policy, version, namespace, scope: under which it was made.
        candidates, arms: (K,) of the slate in request order.
        scores: (K, 4) score, mean, uncertainty and propensity of each.
        chosen: index of the one drawn (or served by the caller).
        propensity: probability with which it was drawn (or the caller's).
        x: (K, d) vectors as scored, imputation, interactions and intercept included.
        status: (K, F) per raw feature 0 PRESENT, 1 MISSING, 2 EXPIRED; F = 0 when the policy takes features only from callers.
        request_time: seconds since the epoch at which features were computed.
        seed: of the sampler's generator, 0 when the algorithm draws none.
        deferred: whether the window waits for ``activate``.
        served: whether the caller chose.
        decided_at_claimed: when the caller says it chose, seconds since the epoch; None unless ``served`` gave it. Recorded only.
    """

    decision_id: DecisionId
    policy: PolicyName
    version: PolicyVersion
    namespace: Namespace
    scope: ScopeId
    candidates: tuple[CandidateId, ...]
    arms: tuple[ArmId, ...]
    scores: Floats
    chosen: int
    propensity: float
    x: Floats
    status: bytes
    request_time: float
    seed: int
    deferred: bool
    served: bool
    decided_at_claimed: float | None

    @property
    def slate(self) -> tuple[Ranked, ...]:
        """The candidates one by one."""
        return tuple(map(Ranked, self.candidates, self.arms, *self.scores.T.tolist()))


class Recorded(NamedTuple):
    """A decision the store holds, and when its window closes.

    Args:
        decision: as first recorded.
        reward_deadline: seconds since the epoch, of the store's clock; None while deferred.
        body_hash: of the request that made it; empty without a request_id.
        replayed: whether an earlier request with the same request_id made it.
    """

    decision: Decision
    reward_deadline: float | None
    body_hash: bytes
    replayed: bool


class Query(NamedTuple):
    """What one Score reads.

    Args:
        policy: whose rules apply.
        scope: whose evidence is read.
        arms: (m,) distinct arms of the slate.
        rows: feature rows to read; any number, none for a policy whose features callers send.
        request_id: looks for an earlier answer; None without one.
        held: versions of evidence the caller holds already, by arm; arms that are still at theirs are left out of the answer.
    """

    policy: PublishedPolicy
    scope: ScopeId
    arms: tuple[ArmId, ...]
    rows: Sequence[Row]
    request_id: str | None
    held: Mapping[ArmId, int] = MappingProxyType({})


class Snapshot(NamedTuple):
    """What that read found.

    Args:
        now: the store's clock, seconds since the epoch.
        evidence: of the query's arms, in their order, but for those still at the version held; decayed to ``now`` under the policy's
            half-life.
        rows: each row of the query as it is stored, packed (`features.packed`).
        generation: how often the scope has been forgotten; `decide` refuses when it has changed since.
        recorded: the earlier answer to the same request_id, None without one.
    """

    now: float
    evidence: Evidence
    rows: Sequence[bytes]
    generation: int
    recorded: Recorded | None


class Inputs(NamedTuple):
    """What a decision was made from: logged beside it, and kept nowhere else.

    Args:
        message: the request as its caller sent it; empty when not known.
        moments: (K, V) event time of each stored row that was read, in seconds since the epoch, NaN where there was none.
        sources: (F,) bytes: which of those V each raw feature comes from; 255: none, or several.
    """

    message: bytes
    moments: Floats
    sources: bytes


class Draft(NamedTuple):
    """A decision to be recorded.

    Args:
        policy: it was made under.
        decision: what was decided.
        request_id: of the request that made it, None without one.
        body_hash: of that request; empty without a request_id.
        generation: of the scope, as it was read.
        inputs: what it was made from; None when not known.
    """

    policy: PublishedPolicy
    decision: Decision
    request_id: str | None
    body_hash: bytes
    generation: int
    inputs: Inputs | None = None


class Told(NamedTuple):
    """A reward to be counted.

    Args:
        policy: any version whose namespace the decision names: its reward rules and half-life are the decision's own.
        decision_id: what it is for.
        value: within the policy's range.
        reward_id: tells rewards of one decision apart; all that have none count as one.
        occurred_at: when, as its sender says, seconds since the epoch; None when unsaid. Recorded only.
    """

    policy: PublishedPolicy
    decision_id: DecisionId
    value: float
    reward_id: str | None
    occurred_at: float | None


class RewardStatus(Enum):
    """What became of an acknowledged reward."""

    APPLIED = 1
    DUPLICATE = 2
    LATE = 3


@dataclass(frozen=True, slots=True)
class RewardOutcome:
    """Status of a reward, and what its decision counts for now (after aggregation; the default until answered; None: nothing)."""

    status: RewardStatus
    value: float | None


class StoreError(Exception):
    """The store refused; the subclass says why. Its message may be shown to callers."""


class Unavailable(StoreError):
    """The store did not answer, or cannot keep what it was told. Nothing is known of whether the call took effect."""


class UnknownDecision(StoreError):
    """No such decision, or it is past its window and grace."""


class NotActivated(StoreError):
    """A reward for a deferred decision that was never activated."""


class ActivatedTooLate(StoreError):
    """A deferred decision can be activated only within one window from the decision."""


class Forgotten(StoreError):
    """The scope was forgotten after the decision was made (or between its read and its write)."""


class ArmLimit(StoreError):
    """The scope already holds as many arms as the policy allows, and this would be one more."""


class RewardLimit(StoreError):
    """The decision already has 100 rewards."""


class DecisionStore(Protocol):
    """Evidence, open decisions and their events. Each method but `forget` is one atomic operation on one scope, or several of them.

    Every acknowledged reward is counted once and every unacknowledged one at most once, however often and from however many replicas it
    is sent, as far as the store keeps what it acknowledged. A cancelled call may or may not have taken effect.
    All raise Unavailable.
    """

    async def read(self, queries: Sequence[Query]) -> list[Snapshot | Exception]:
        """Per query: features, evidence, the clock, and the earlier answer to the same request_id. Each is read at one moment.

        All of them take one round trip. What is wrong with one of them is its own answer: Unavailable, or our own mistake.
        """

    async def decide(self, drafts: Sequence[Draft]) -> list[Recorded | Exception]:
        """Record decisions, let the arm of each learn the default (unless deferred or None), write its events: each all or nothing.

        All of them take one round trip; what is wrong with one of them is its own answer. A request_id that has been answered meanwhile
        changes nothing and returns that answer with ``replayed`` set (whatever its body_hash: the caller compares). The same decision_id
        again returns what the first did.

        Refusals, beside Unavailable:
            Forgotten: the scope's generation is not the draft's.
            ArmLimit: the default would open one arm too many.
        """

    async def activate(self, policy: PublishedPolicy, decision_id: DecisionId) -> float:
        """Open a deferred decision's window; returns the reward deadline, in seconds. Again: the same answer.

        Raises:
            UnknownDecision, ActivatedTooLate, Forgotten, ArmLimit.
        """

    async def reward(self, rewards: Sequence[Told]) -> list[RewardOutcome | Exception]:
        """Count rewards towards their decisions, each once.

        All of them take one round trip; what is wrong with one of them is its own answer. A reward after the window is LATE: recorded, not
        learned; one already seen (its reward_id, or any second one under ``first``) is DUPLICATE and changes nothing.

        Refusals, beside Unavailable:
            UnknownDecision, NotActivated, Forgotten, ArmLimit, RewardLimit.
        """

    async def evidence(self, policy: PublishedPolicy, scope: ScopeId) -> Evidence:
        """All arms a scope has evidence of, sorted by arm, decayed to now."""

    async def forget(self, name: PolicyName, namespaces: Sequence[Namespace], scope: ScopeId) -> None:
        """Erase a scope of one policy: its evidence in every namespace, its decisions and kept answers; leave a tombstone.

        The tombstone and the evidence go first, in one step; open decisions are closed from then on. Safe to repeat.
        """

    async def ping(self) -> None:
        """Return when the store can answer and write."""
