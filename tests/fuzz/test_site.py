"""An attack on a real server, features and all."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from tests.fuzz.attack import Attack, Finding
from tests.fuzz.cases import ROUND, cases
from tests.fuzz.site import CANARY, CANARY_POLICIES, site


@pytest.mark.slow
def test_a_round_finds_nothing_until_the_people_nobody_may_hear_of_are_touched(tmp_path: Path) -> None:
    with site(tmp_path, seed=1) as here:
        attack = Attack(here)
        assert attack.round(list(cases(1, 0)), here.decide("1")) == []
        assert attack.sent == ROUND
        assert attack.codes["OK"] > 0 < attack.codes["INVALID_ARGUMENT"]

        person = f"{CANARY}-person"
        with grpc.insecure_channel(here.address) as channel:
            policies = policy_pb2_grpc.PolicyServiceStub(channel)
            for policy in CANARY_POLICIES:
                arms = policies.GetEvidence(policy_pb2.GetEvidenceRequest(policy=policy, scope=person)).arms
                assert arms
                for arm in arms:  # its numbers alone would tell
                    arm.arm = "x"
                    assert here.leaks(arm.SerializeToString())
            bandit = bandit_pb2_grpc.BanditServiceStub(channel)
            bandit.Score(pb.ScoreRequest(policy="vault", entities={"user_id": person}, candidates=[pb.Candidate(id="c")]))
        assert attack.round([], []) == [Finding("what the people nobody may hear of taught has changed", None)]
