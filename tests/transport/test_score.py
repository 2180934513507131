"""What a Score, a Reward and the rest answer when nothing is wrong."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import policy_pb2

from policies.parse import parse_spec
from serving.ports import Recorded
from serving.service.commands import Scored
from serving.transport import render
from tests.store.build import decision, policy
from tests.transport.harness import SHOP, START_S, WINDOW_S, World, score_request

DEADLINE = Timestamp(seconds=START_S + WINDOW_S)


async def test_a_score_tells_the_decision_and_how_every_candidate_did(here: World) -> None:
    answer = await here.bandit.Score(score_request())
    assert len(answer.decision_id) == 38
    assert answer.policy_version == 1
    assert answer.reward_deadline == DEADLINE
    assert answer.feature_status == pb.FeatureStatus(present=4)
    # Nothing is known, so a candidate's score is its uncertainty alone: the length of its vector.
    assert [(c.candidate_id, c.arm, c.mean) for c in answer.ranking] == [("b", "b", 0.0), ("a", "a", 0.0)]
    assert [c.uncertainty for c in answer.ranking] == pytest.approx([10**0.5, 5**0.5])
    assert [c.score for c in answer.ranking] == [c.uncertainty for c in answer.ranking]
    assert [c.propensity for c in answer.ranking] == pytest.approx([0.975, 0.025])
    assert [c.propensity for c in answer.ranking if c.candidate_id == answer.candidate_id] == [answer.propensity]
    assert [dict(c.features) for c in answer.ranking] == [{}, {}]
    assert here.heard.decisions == ["shop"]


async def test_an_explained_score_lists_the_vectors(here: World) -> None:
    answer = await here.bandit.Score(score_request(explain=True))
    assert {c.candidate_id: dict(c.features) for c in answer.ranking} == {
        "a": {"price": 2.0, "rain": 1.0},
        "b": {"price": 3.0, "rain": 1.0},
    }


async def test_features_that_nobody_sent_are_counted_and_named(here: World) -> None:
    answer = await here.bandit.Score(score_request(candidates=[pb.Candidate(id="a"), pb.Candidate(id="b", features={"price": 1.0})]))
    assert answer.feature_status == pb.FeatureStatus(present=3, missing=1, missing_features=["price"])


def test_missing_and_expired_features_are_told_apart() -> None:
    made = decision(policy(dimension=2))  # two candidates, two features: present, missing; expired, present
    (packed,) = render.score_responses([Scored(Recorded(made, None, b"", False), policy(dimension=2), (0, 1))], [False])
    response = pb.ScoreResponse.FromString(packed)
    assert response.feature_status == pb.FeatureStatus(present=2, missing=1, expired=1, missing_features=["f1"], expired_features=["f0"])


async def test_the_same_request_id_gets_the_same_answer_and_decides_once(here: World) -> None:
    first = await here.bandit.Score(score_request(request_id="r", explain=True))
    here.now_s += 10
    assert await here.bandit.Score(score_request(request_id="r", explain=True)) == first
    assert here.heard.decisions == ["shop"]
    assert here.heard.calls == [("Score", "shop", "OK")] * 2


async def test_a_deferred_decision_gets_its_deadline_when_it_is_activated(here: World) -> None:
    answer = await here.bandit.Score(score_request(deferred=True))
    assert not answer.HasField("reward_deadline")
    here.now_s += 5.25
    activated = await here.bandit.Activate(pb.ActivateRequest(decision_id=answer.decision_id))
    assert activated.reward_deadline == Timestamp(seconds=START_S + 5 + WINDOW_S, nanos=250_000_000)


async def test_what_the_caller_served_is_the_decision(here: World) -> None:
    served = pb.Served(candidate_id="a", propensity=0.25, decided_at=Timestamp(seconds=1))
    answer = await here.bandit.Score(score_request(served=served))
    assert (answer.candidate_id, answer.propensity) == ("a", 0.25)


async def test_a_reward_may_name_its_outcome(here: World) -> None:
    decision_id = await here.decide()
    answer = await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, outcome="bought"))
    assert answer == pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1.0)


async def test_a_reward_of_zero_is_a_value(here: World) -> None:
    answer = await here.bandit.Reward(pb.RewardRequest(decision_id=await here.decide(), value=0))
    assert answer.HasField("value")
    assert answer == pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=0.0)


async def test_policies_are_listed_as_their_files_would_declare_them(here: World) -> None:
    listed = (await here.policies.ListPolicies(policy_pb2.ListPoliciesRequest())).policies
    assert [p.name for p in listed] == ["shop", "strict", "summed"]
    shop = (await here.policies.GetPolicy(policy_pb2.GetPolicyRequest(policy="shop"))).policy
    assert shop == listed[0]
    assert (shop.version, list(shop.features), list(shop.columns), shop.dimension) == (1, ["price", "rain"], ["price", "rain"], 2)
    assert len(shop.namespace) == 12
    assert parse_spec({"name": "shop", **_whole(MessageToDict(shop.spec))}) == parse_spec(SHOP)


async def test_evidence_is_what_the_rewards_say(here: World) -> None:
    # Served, so that it is known which arm learns: x = (2, 1), r = 1, λ = 1.
    served = pb.Served(candidate_id="a", propensity=1)
    decision_id = await here.decide(served=served)
    await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1))
    (arm,) = (await here.policies.GetEvidence(policy_pb2.GetEvidenceRequest(policy="shop", scope="u1"))).arms
    assert (arm.arm, arm.count, arm.reward_sum) == ("a", 1, 1.0)
    assert list(arm.theta) == pytest.approx([2 / 6, 1 / 6])  # (I + x·xᵀ)⁻¹·x = x / (1 + |x|²)
    assert arm.version > 0


async def test_a_forgotten_scope_has_no_evidence(here: World) -> None:
    await here.decide()
    for _ in range(2):
        await here.policies.ForgetScope(policy_pb2.ForgetScopeRequest(scope="u1"))
        assert await here.policies.GetEvidence(policy_pb2.GetEvidenceRequest(policy="shop", scope="u1")) == policy_pb2.GetEvidenceResponse()


def _whole(value: object) -> dict[str, object]:
    """A Struct's numbers are doubles; those that are whole, as a file would write them."""

    def convert(part: object) -> object:
        if isinstance(part, dict):
            return {k: convert(v) for k, v in part.items()}
        if isinstance(part, list):
            return [convert(v) for v in part]
        return int(part) if isinstance(part, float) and part.is_integer() else part

    assert isinstance(value, dict)
    return {k: convert(v) for k, v in value.items()}
