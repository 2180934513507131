"""What the store logs of a commit, as the events that others hear."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as bandit
from ooml.bandit.v1 import events_pb2 as pb

from events.bus import Origin
from events.identity import identity
from events.translate import events_of, messages_of
from policies.types import ArmId, DecisionId, Namespace, PolicyName, PolicyVersion, ScopeId
from serving.events import Activated, DecisionMade, Event, EvidenceAdded, LogEntry, RewardRecorded, ScopeDropped, ScopeForgotten
from serving.ports import Inputs, RewardStatus
from tests.store.build import decision, policy

P = policy(name="shop", dimension=2)
SHOP = P.spec.name
AT_US = 1_700_000_000_000_001
AT = Timestamp(seconds=1_700_000_000, nanos=1_000)
LATER_US, LATER = AT_US + 60_000_000, Timestamp(seconds=1_700_000_060, nanos=1_000)


def entry(*events: Event, shed: int = 0, namespace: str = P.namespace) -> LogEntry:
    return LogEntry("epoch", 7, Namespace(namespace), ScopeId("u"), shed, events)


def events(*happened: Event, shed: int = 0) -> Sequence[pb.Event]:
    return told(entry(*happened, shed=shed))


def told(of: LogEntry) -> list[pb.Event]:
    """As everybody reads it."""
    return [pb.Event.FromString(event.SerializeToString()) for event in events_of(of, SHOP, 3)]


def added(**changes: object) -> EvidenceAdded:
    fields: dict[str, object] = {
        "decision_id": DecisionId("d"),
        "reward_id": "",
        "version": PolicyVersion(4),
        "propensity": 0.75,
        "arm": ArmId("a"),
        "grew": True,
        "before": 0.0,
        "after": 0.5,
        "at_us": AT_US,
        "decided_at_us": AT_US,
        "x": np.array([1.0, 2.0]),
    }
    return EvidenceAdded(**{**fields, **changes})  # type: ignore[arg-type]


def rewarded(status: RewardStatus = RewardStatus.APPLIED, occurred_at: float | None = 1.5) -> RewardRecorded:
    return RewardRecorded(DecisionId("d"), "r", status, 2.0, LATER_US, occurred_at)


def test_a_decision_tells_its_whole_slate_and_what_it_was_made_from() -> None:
    request = bandit.ScoreRequest(
        request_id="r1",
        utc_offset=Duration(seconds=-3600),
        entities={"user_id": "u"},
        candidates=[
            bandit.Candidate(id="c0", entities={"task_id": "t0"}),
            bandit.Candidate(id="c1", entities={"task_id": "t1", "list_id": "l"}),
        ],
    )
    inputs = Inputs(request.SerializeToString(), np.array([[10.5], [math.nan]]), b"\0\xff")
    made = decision(P, "a", x=[1.0, 2.0], request_time=1.25, seed=2**64 - 1)
    (event,) = events(DecisionMade(made, AT_US, LATER_US, 2, b"hash", inputs))
    assert (event.shard, event.epoch, event.sequence, event.recorded_at) == (3, "epoch", 7, AT)
    said = event.decision_made
    times = list(said.feature_times)
    del said.feature_times[:]
    assert said == pb.DecisionMade(
        decision_id=made.decision_id,
        policy="shop",
        policy_version=1,
        namespace=P.namespace,
        scope=made.scope,
        request_time=Timestamp(seconds=1, nanos=250_000_000),
        reward_deadline=LATER,
        chosen=1,
        propensity=0.75,
        seed=2**64 - 1,
        candidate_ids=["c0", "c1"],
        arms=["other", "a"],
        scores=[0.125, 0.5],
        means=[0.1, 0.4],
        uncertainties=[0.025, 0.1],
        propensities=[0.25, 0.75],
        dimension=2,
        x=[0.0, 0.0, 1.0, 2.0],
        feature_status=made.status,
        entities={"user_id": "u"},
        candidate_entity_names=["task_id", "list_id"],
        candidate_entity_values=["t0", "", "t1", "l"],
        generation=2,
        body_hash=b"hash",
        request_id="r1",
        utc_offset=Duration(seconds=-3600),
    )
    assert times[0] == 10.5  # the first feature of the first candidate is the only one with a row behind it
    assert np.isnan(times[1:]).tolist() == [True, True, True]


def test_a_deferred_decision_has_no_deadline_and_one_of_unknown_inputs_no_entities() -> None:
    (event,) = events(DecisionMade(decision(P, deferred=True), AT_US, None, 0, b""))
    assert event.decision_made.deferred
    assert not event.decision_made.HasField("reward_deadline")
    assert not event.decision_made.entities
    assert not event.decision_made.HasField("utc_offset")
    assert not event.decision_made.feature_times


def test_what_the_caller_served_says_when() -> None:
    (event,) = events(DecisionMade(decision(P, served=True, decided_at_claimed=0.0), AT_US, LATER_US, 0, b""))
    assert event.decision_made.served
    assert event.decision_made.decided_at == Timestamp()
    assert event.decision_made.HasField("decided_at")


def test_a_default_is_learned_for_no_reward() -> None:
    (event,) = events(added())
    assert event.evidence_added == pb.EvidenceAdded(
        decision_id="d",
        policy="shop",
        namespace=P.namespace,
        scope="u",
        arm="a",
        x=[1.0, 2.0],
        value_after=0.5,
        grew=True,
        decided_at=AT,
        policy_version=4,
        propensity=0.75,
    )
    assert not event.evidence_added.HasField("reward_value")


def test_a_reward_and_what_it_taught_know_of_each_other() -> None:
    reward, learned = events(rewarded(), added(reward_id="r", grew=False, before=0.5, after=2.0, at_us=LATER_US))
    assert reward.reward_received == pb.RewardReceived(
        decision_id="d",
        reward_id="r",
        policy="shop",
        namespace=P.namespace,
        scope="u",
        value=2.0,
        status=bandit.REWARD_STATUS_APPLIED,
        decision_value=2.0,
        occurred_at=Timestamp(seconds=1, nanos=500_000_000),
    )
    assert (learned.evidence_added.reward_value, learned.evidence_added.value_before) == (2.0, 0.5)
    assert learned.evidence_added.occurred_at == reward.reward_received.occurred_at
    assert learned.evidence_added.decided_at == AT
    assert learned.recorded_at == LATER


def test_a_late_reward_changes_nothing_and_says_so() -> None:
    (event,) = events(rewarded(RewardStatus.LATE, occurred_at=None))
    assert event.reward_received.status == bandit.REWARD_STATUS_LATE
    assert not event.reward_received.HasField("decision_value")
    assert not event.reward_received.HasField("occurred_at")


def test_activations_and_ends_of_scopes() -> None:
    place = {"policy": "shop", "namespace": P.namespace, "scope": "u"}
    (activated,) = events(Activated(DecisionId("d"), AT_US, LATER_US))
    assert activated.decision_activated == pb.DecisionActivated(decision_id="d", reward_deadline=LATER, **place)
    (dropped,) = events(ScopeDropped(9, AT_US))
    assert dropped.scope_dropped == pb.ScopeDropped(arms=9, **place)
    (forgotten,) = told(entry(ScopeForgotten(SHOP, 2, AT_US), namespace=""))
    assert forgotten.scope_forgotten == pb.ScopeForgotten(policy="shop", scope="u", generation=2)


def test_decisions_that_were_shed_are_told_of_last() -> None:
    learned, shed = events(added(), shed=12)
    assert learned.WhichOneof("kind") == "evidence_added"
    assert shed.decisions_shed.count == 12
    assert (shed.recorded_at, shed.sequence) == (AT, 7)


@pytest.mark.parametrize("name", ["shop", "tips_hours"])
def test_messages_carry_their_subject_their_id_and_their_place_in_the_outbox(name: str) -> None:
    messages = messages_of(entry(rewarded(), added(reward_id="r"), shed=1), PolicyName(name), 3, "17-0")
    source = "shop" if name == "shop" else "tip"
    assert [m.subject for m in messages] == [f"signals.{source}.feedback"] * 2 + ["signals.log.shed"]
    assert [m.origin for m in messages] == [Origin(3, "17-0", part, 3) for part in range(3)]
    assert [m.id for m in messages] == [identity(pb.Event.FromString(m.body)).hex() for m in messages]
