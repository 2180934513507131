"""Events for tests."""

from __future__ import annotations

import itertools

from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2
from ooml.bandit.v1 import events_pb2 as pb

DAY_S = 86_400
NOON_S = 20_000 * DAY_S + DAY_S // 2

_ids = itertools.count()


def new_id() -> str:
    return f"{next(_ids):038d}"


def event(at_s: float = NOON_S, shard: int = 0, **kind: object) -> pb.Event:
    recorded_at = Timestamp()
    recorded_at.FromMicroseconds(round(at_s * 1e6))
    return pb.Event(recorded_at=recorded_at, shard=shard, epoch="e", sequence=1, **kind)  # type: ignore[arg-type]


def decided(scope: str = "u", policy: str = "tips", at_s: float = NOON_S, decision_id: str = "") -> pb.Event:
    made = pb.DecisionMade(decision_id=decision_id or new_id(), policy=policy, namespace="n", scope=scope, candidate_ids=["a", "b"])
    return event(at_s, decision_made=made)


def learned(scope: str = "u", policy: str = "tips", at_s: float = NOON_S, x: tuple[float, ...] = (1.0, 2.0)) -> pb.Event:
    added = pb.EvidenceAdded(decision_id=new_id(), policy=policy, namespace="n", scope=scope, arm="a", x=x, grew=True, value_after=0.5)
    return event(at_s, evidence_added=added)


def rewarded(scope: str = "u", policy: str = "tips", at_s: float = NOON_S, reward_id: str = "r") -> pb.Event:
    reward = pb.RewardReceived(
        decision_id=new_id(), reward_id=reward_id, policy=policy, scope=scope, value=1.0, status=bandit_pb2.REWARD_STATUS_APPLIED
    )
    return event(at_s, reward_received=reward)


def forgotten(scope: str = "u", policy: str = "tips", at_s: float = NOON_S, generation: int = 1) -> pb.Event:
    return event(at_s, scope_forgotten=pb.ScopeForgotten(policy=policy, scope=scope, generation=generation))
