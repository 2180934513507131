"""From what the store logged of a commit to the events of the contract, one a message."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2
from ooml.bandit.v1 import events_pb2 as pb

from events import packed
from events.bus import Message, Origin
from events.identity import identity
from events.packed import doubles
from events.subjects import subject_of
from features.program import NO_VIEW
from policies.types import Floats, PolicyName
from serving.events import Activated, DecisionMade, Event, EvidenceAdded, LogEntry, RewardRecorded, ScopeDropped, ScopeForgotten
from serving.ports import Inputs, RewardStatus

_STATUS = {RewardStatus.APPLIED: bandit_pb2.REWARD_STATUS_APPLIED, RewardStatus.LATE: bandit_pb2.REWARD_STATUS_LATE}


def messages_of(entry: LogEntry, policy: PolicyName, shard: int, entry_id: str) -> list[Message]:
    """What is published of an entry of the outbox.

    Args:
        policy: whose entry it is.
        shard: it lies in.
        entry_id: of the entry in the shard's stream.
    """
    events = events_of(entry, policy, shard)
    return [
        Message(subject_of(event), identity(event).hex(), event.SerializeToString(), Origin(shard, entry_id, part, len(events)))
        for part, event in enumerate(events)
    ]


def events_of(entry: LogEntry, policy: PolicyName, shard: int) -> list[pb.Event]:
    """An entry's events (of `events.packed`), in the order in which they happened; that some were shed comes last."""
    commit = _Commit(
        policy,
        entry,
        next((e for e in entry.events if isinstance(e, RewardRecorded)), None),
        next((e for e in entry.events if isinstance(e, EvidenceAdded)), None),
    )
    events = [_event(happened, commit) for happened in entry.events]
    if entry.shed:
        events.append(packed.Event(recorded_at=events[0].recorded_at, decisions_shed=packed.DecisionsShed(count=entry.shed)))
    for event in events:
        event.shard, event.epoch, event.sequence = shard, entry.epoch, entry.seq
    return events


class _Commit(NamedTuple):
    """What the events of one commit say of each other: its reward, if it has one, and what was learned."""

    policy: PolicyName
    entry: LogEntry
    reward: RewardRecorded | None
    learned: EvidenceAdded | None

    @property
    def place(self) -> dict[str, str]:
        """Whose it is, as most events name it."""
        return {"policy": self.policy, "namespace": self.entry.namespace, "scope": self.entry.scope}


def _event(happened: Event, commit: _Commit) -> pb.Event:
    at = _us(happened.at_us)
    match happened:
        case DecisionMade():
            return packed.Event(recorded_at=at, decision_made=_made(happened))
        case Activated():
            activated = packed.DecisionActivated(
                decision_id=happened.decision_id, reward_deadline=_us(happened.deadline_us), **commit.place
            )
            return packed.Event(recorded_at=at, decision_activated=activated)
        case RewardRecorded():
            return packed.Event(recorded_at=at, reward_received=_received(happened, commit))
        case EvidenceAdded():
            return packed.Event(recorded_at=at, evidence_added=_added(happened, commit))
        case ScopeForgotten():
            forgotten = packed.ScopeForgotten(policy=happened.policy, scope=commit.entry.scope, generation=happened.generation)
            return packed.Event(recorded_at=at, scope_forgotten=forgotten)
        case ScopeDropped():
            return packed.Event(recorded_at=at, scope_dropped=packed.ScopeDropped(arms=happened.arms, **commit.place))


def _made(made: DecisionMade) -> pb.DecisionMade:
    decision = made.decision
    scores = decision.scores
    event = packed.DecisionMade(
        decision_id=decision.decision_id,
        policy=decision.policy,
        policy_version=decision.version,
        namespace=decision.namespace,
        scope=decision.scope,
        request_time=_seconds(decision.request_time),
        reward_deadline=None if made.deadline_us is None else _us(made.deadline_us),
        chosen=decision.chosen,
        propensity=decision.propensity,
        seed=decision.seed,
        deferred=decision.deferred,
        served=decision.served,
        decided_at=_seconds(decision.decided_at_claimed),
        candidate_ids=decision.candidates,
        arms=decision.arms,
        scores=doubles(scores[:, 0]),
        means=doubles(scores[:, 1]),
        uncertainties=doubles(scores[:, 2]),
        propensities=doubles(scores[:, 3]),
        dimension=decision.x.shape[1],
        x=doubles(decision.x),
        feature_status=decision.status,
        generation=made.generation,
        body_hash=made.body_hash,
    )
    if made.inputs is not None:
        event.feature_times.extend(doubles(_feature_times(made.inputs)))
        _add_request(event, made.inputs.message)
    return event


def _feature_times(inputs: Inputs) -> Floats:
    """(K, F); none when no row is stored."""
    k, views = inputs.moments.shape
    times = np.full((k, len(inputs.sources) if views else 0), np.nan)
    for column, source in enumerate(inputs.sources if views else b""):
        if source != NO_VIEW:
            times[:, column] = inputs.moments[:, source]
    return times


def _add_request(event: pb.DecisionMade, message: bytes) -> None:
    """What of the request the store does not need: who and what was asked about."""
    request = bandit_pb2.ScoreRequest.FromString(message)
    event.request_id = request.request_id
    if request.HasField("utc_offset"):
        event.utc_offset.CopyFrom(request.utc_offset)
    event.entities.update(request.entities)
    brought = [candidate.entities for candidate in request.candidates[:]]
    names = list(dict.fromkeys([name for entities in brought for name in entities]))
    event.candidate_entity_names.extend(names)
    # `get`: to look a name up would put it there.
    event.candidate_entity_values.extend([entities.get(name) or "" for entities in brought for name in names])


def _received(reward: RewardRecorded, commit: _Commit) -> pb.RewardReceived:
    return packed.RewardReceived(
        decision_id=reward.decision_id,
        reward_id=reward.reward_id,
        value=reward.value,
        status=_STATUS[reward.status],
        decision_value=None if commit.learned is None else commit.learned.after,
        occurred_at=_seconds(reward.occurred_at),
        **commit.place,
    )


def _added(added: EvidenceAdded, commit: _Commit) -> pb.EvidenceAdded:
    reward = commit.reward
    return packed.EvidenceAdded(
        decision_id=added.decision_id,
        reward_id=added.reward_id,
        arm=added.arm,
        x=doubles(added.x),
        value_before=added.before,
        value_after=added.after,
        grew=added.grew,
        decided_at=_us(added.decided_at_us),
        reward_value=None if reward is None else reward.value,
        occurred_at=None if reward is None else _seconds(reward.occurred_at),
        policy_version=added.version,
        propensity=added.propensity,
        **commit.place,
    )


def _us(micros: int) -> Timestamp:
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def _seconds(seconds: float | None) -> Timestamp | None:
    return None if seconds is None else _us(round(seconds * 1e6))
