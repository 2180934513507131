"""Which events are the same, and where they are published."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2
from ooml.bandit.v1 import events_pb2 as pb

from events.identity import ID_BYTES, identity
from events.subjects import source_of, subject_of
from policies.types import PolicyName

MADE = pb.Event(decision_made=pb.DecisionMade(decision_id="d1", policy="tips"))
REWARD = pb.Event(
    reward_received=pb.RewardReceived(decision_id="d1", reward_id="r1", policy="tips", status=bandit_pb2.REWARD_STATUS_APPLIED)
)
LEARNED = pb.Event(evidence_added=pb.EvidenceAdded(decision_id="d1", policy="tips_hours"))
DROPPED = pb.Event(scope_dropped=pb.ScopeDropped(policy="shop", namespace="n", scope="u"), recorded_at=Timestamp(seconds=1))


def changed(event: pb.Event, **changes: object) -> pb.Event:
    """A copy in which fields of what happened differ."""
    copy = pb.Event()
    copy.CopyFrom(event)
    said = getattr(copy, event.WhichOneof("kind") or "")
    for name, value in changes.items():
        setattr(said, name, value)
    return copy


@pytest.mark.parametrize("event", [MADE, REWARD, LEARNED])
def test_where_and_when_an_event_was_written_is_no_part_of_what_it_is(event: pb.Event) -> None:
    again = changed(event)
    again.shard, again.epoch, again.sequence = 7, "another", 99
    again.recorded_at.seconds = 12
    assert identity(again) == identity(event)
    assert len(identity(event)) == ID_BYTES


def test_what_happened_is() -> None:
    others = [
        MADE,
        pb.Event(decision_activated=pb.DecisionActivated(decision_id="d1", policy="tips")),
        changed(MADE, decision_id="d2"),
        REWARD,
        changed(REWARD, reward_id="r2"),
        changed(REWARD, reward_id=""),
        changed(REWARD, status=bandit_pb2.REWARD_STATUS_LATE),
        LEARNED,
        changed(LEARNED, reward_value=0.0),
        changed(LEARNED, reward_id="r1", reward_value=1.0),
        DROPPED,
        changed(DROPPED, scope="v"),
    ]
    assert len({identity(event) for event in others}) == len(others)


def test_two_drops_of_a_scope_are_two() -> None:
    later = changed(DROPPED)
    later.recorded_at.seconds = 2
    assert identity(later) != identity(DROPPED)


def test_ids_that_only_join_to_the_same_text_are_told_apart() -> None:
    assert identity(changed(REWARD, decision_id="d", reward_id="1r1")) != identity(changed(REWARD, decision_id="d1", reward_id="r1"))


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (MADE, "signals.tip.served"),
        (REWARD, "signals.tip.feedback"),
        (LEARNED, "signals.tip.feedback"),
        (DROPPED, "signals.shop.scopes"),
        (pb.Event(task_synced=pb.TaskSynced(user_id="u")), "signals.task.synced"),
        (pb.Event(decisions_shed=pb.DecisionsShed(count=3)), "signals.log.shed"),
    ],
)
def test_subjects(event: pb.Event, subject: str) -> None:
    assert subject_of(event) == subject


@pytest.mark.parametrize(("policy", "source"), [("tips", "tip"), ("tips_hours", "tip"), ("tipsy", "tipsy"), ("shop", "shop")])
def test_variants_of_the_tip_policy_are_one_source(policy: str, source: str) -> None:
    assert source_of(PolicyName(policy)) == source


def test_what_is_no_event_has_neither_identity_nor_subject() -> None:
    with pytest.raises(ValueError, match="kind None"):
        identity(pb.Event())
    with pytest.raises(ValueError, match="kind None"):
        subject_of(pb.Event())
    with pytest.raises(ValueError, match="names no policy"):
        subject_of(pb.Event(evidence_added=pb.EvidenceAdded()))
