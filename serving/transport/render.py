"""From what the service answers to messages of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import policy_pb2

from policies.parse import to_mapping
from serving.ports import RewardOutcome, RewardStatus
from serving.service.commands import ArmEvidence, PolicyDescription, Scored
from serving.transport import encode

_REWARD_STATUS = {
    RewardStatus.APPLIED: pb.REWARD_STATUS_APPLIED,
    RewardStatus.DUPLICATE: pb.REWARD_STATUS_DUPLICATE,
    RewardStatus.LATE: pb.REWARD_STATUS_LATE,
}


def score_responses(scored: Sequence[Scored], explain: Sequence[bool]) -> list[bytes]:
    """Decisions, each as the bytes of a ScoreResponse; explained where that was asked for."""
    rankings = encode.rankings([(one.recorded.decision, one.ranking) for one in scored])
    return [
        _explained(one) if told else _head(one).SerializeToString() + ranking
        for one, told, ranking in zip(scored, explain, rankings, strict=True)
    ]


def _head(scored: Scored) -> pb.ScoreResponse:
    """All of a decision but its candidates."""
    decision = scored.recorded.decision
    status = decision.status
    head = pb.ScoreResponse(
        decision_id=decision.decision_id,
        candidate_id=decision.candidates[decision.chosen],
        propensity=decision.propensity,
        policy_version=decision.version,
        feature_status=_feature_status(status, scored.features),
    )
    if scored.recorded.reward_deadline is not None:
        head.reward_deadline.CopyFrom(timestamp(scored.recorded.reward_deadline))
    return head


def _explained(scored: Scored) -> bytes:
    """A decision with the vectors it was made of."""
    response, decision = _head(scored), scored.recorded.decision
    slate, x = decision.slate, decision.x.tolist()
    for k in scored.ranking:
        candidate = response.ranking.add(**slate[k]._asdict())
        candidate.features.update(zip(scored.columns, x[k], strict=True))
    return response.SerializeToString()


def reward_response(outcome: RewardOutcome) -> pb.RewardResponse:
    """What became of a reward."""
    return pb.RewardResponse(status=_REWARD_STATUS[outcome.status], value=outcome.value)


def policy(description: PolicyDescription) -> policy_pb2.Policy:
    """A served policy."""
    published = description.policy
    return policy_pb2.Policy(
        name=published.spec.name,
        version=published.version,
        namespace=published.namespace,
        features=published.features,
        columns=description.columns,
        dimension=published.dimension,
        spec=ParseDict(to_mapping(published.spec), Struct()),
    )


def arm_evidence(evidence: ArmEvidence) -> policy_pb2.ArmEvidence:
    """What one arm has shown."""
    return policy_pb2.ArmEvidence(
        arm=evidence.arm,
        count=evidence.count,
        reward_sum=evidence.reward_sum,
        theta=evidence.theta.tolist(),
        version=evidence.version,
    )


def timestamp(seconds: float) -> Timestamp:
    """A time in seconds since the epoch, to the microsecond."""
    whole, us = divmod(round(seconds * 1e6), 1_000_000)
    return Timestamp(seconds=whole, nanos=us * 1000)


def _feature_status(status: bytes, names: tuple[str, ...]) -> pb.FeatureStatus:
    """Counts over a (K, F) matrix of statuses, and which columns are not whole. An empty matrix has no columns."""
    if status == bytes(len(status)):  # nearly always, and seen at once: to look at each takes a wide slate 6 µs
        return pb.FeatureStatus(present=len(status))
    width = len(names)
    missing, expired = status.count(1), status.count(2)
    counts = pb.FeatureStatus(present=len(status) - missing - expired, missing=missing, expired=expired)
    if missing:
        counts.missing_features.extend(name for j, name in enumerate(names) if 1 in status[j::width])
    if expired:
        counts.expired_features.extend(name for j, name in enumerate(names) if 2 in status[j::width])
    return counts
