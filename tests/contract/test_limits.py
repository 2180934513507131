"""Every limit that the contract names: what lies at its edge is taken, what lies beyond is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import policy_pb2

from tests.contract.protos import PACKAGE, PROTOS
from tests.transport.harness import World, read_status, score_request

M = TypeVar("M", bound=Message)
MAX_BYTES = 4 * 1024 * 1024
TOLD = 150
"""Characters of a field's path that are always told."""
HOURS_18 = 18 * 3600
YEAR_1, YEAR_9999_END = -62_135_596_800, 253_402_300_799
CONTRACT = " ".join("".join(path.read_text().replace("\n  //", "").replace("\n//", "") for path in (PROTOS / PACKAGE).iterdir()).split())


def candidate(**fields: Any) -> pb.ScoreRequest:
    return score_request(candidates=[pb.Candidate(**{"id": "a", **fields})])


def numbered(count: int, value: Any) -> dict[str, Any]:
    return {f"k{k}": value for k in range(count)}


def served(**fields: Any) -> pb.ScoreRequest:
    return score_request(served=pb.Served(**{"candidate_id": "a", "propensity": 1.0, **fields}))


def rain(value: float) -> pb.ScoreRequest:
    return score_request(context={"rain": value})


def price(value: float) -> pb.ScoreRequest:
    return candidate(features={"price": value})


def asked_at(time: Timestamp) -> pb.ScoreRequest:
    return score_request(request_time=time)


def decided_at(time: Timestamp) -> pb.ScoreRequest:
    return served(decided_at=time)


def ids(change: Callable[[str], M], field: Callable[[str], str]) -> list[tuple[M, M, str]]:
    """Edges of what an id may be: at the edge, beyond, and the field at fault."""
    edges = [("x" * 256, "x" * 257), ("é" * 128, "é" * 128 + "x"), ("\u00a0", "\x9f"), (" ", "\x1f"), ("~", "\x7f")]
    return [(change(at), change(beyond), field(beyond)) for at, beyond in edges]


AN_ID = "An id is 1 to 256 bytes of UTF-8 without control characters"
A_MAP = "A map holds at most 256 entries"
YEARS = "within the years 1 to 9999"

SCORES: Mapping[str, list[tuple[pb.ScoreRequest, pb.ScoreRequest, str]]] = {
    AN_ID: [
        *ids(lambda text: score_request(policy=text), lambda _: "policy"),
        *ids(lambda text: score_request(request_id=text), lambda _: "request_id"),
        *ids(lambda text: score_request(entities={"user_id": text}), lambda _: "entities['user_id']"),
        *ids(lambda text: score_request(entities={"user_id": "u", text: "v"}), lambda text: f"entities[{text!r}]"),
        *ids(lambda text: candidate(id=text), lambda _: "candidates[0].id"),
        *ids(lambda text: candidate(arm=text), lambda _: "candidates[0].arm"),
        *ids(lambda text: candidate(entities={"k": text}), lambda _: "candidates[0].entities['k']"),
        *ids(lambda text: candidate(entities={text: "v"}), lambda text: f"candidates[0].entities[{text!r}]"),
    ],
    A_MAP: [
        (score_request(entities=numbered(256, "v")), score_request(entities=numbered(257, "v")), "entities"),
        (score_request(context=numbered(256, 1.0)), score_request(context=numbered(257, 1.0)), "context"),
        (candidate(entities=numbered(256, "v")), candidate(entities=numbered(257, "v")), "candidates[0].entities"),
        (candidate(features=numbered(256, 1.0)), candidate(features=numbered(257, 1.0)), "candidates[0].features"),
    ],
    "1 to 500, with distinct ids": [
        (
            score_request(candidates=[pb.Candidate(id=f"c{k}") for k in range(500)]),
            score_request(candidates=[pb.Candidate(id=f"c{k}") for k in range(501)]),
            "candidates",
        ),
        (score_request(candidates=[pb.Candidate(id="a")]), score_request(candidates=[]), "candidates"),
        (score_request(), score_request(candidates=[pb.Candidate(id="a")] * 2), "candidates[1].id"),
    ],
    "A double is finite": [(rain(1.0), rain(value), "context['rain']") for value in (math.nan, math.inf, -math.inf)],
    "Magnitudes above 1e6 are out of range": [
        (change(sign * 1e6), change(sign * math.nextafter(1e6, math.inf)), "candidates[0]") for change in (rain, price) for sign in (1, -1)
    ],
    "within -18 h to 18 h": [
        (
            score_request(utc_offset=Duration(seconds=s * HOURS_18)),
            score_request(utc_offset=Duration(seconds=s * HOURS_18, nanos=s)),
            "utc_offset",
        )
        for s in (1, -1)
    ],
    YEARS: [
        (change(Timestamp(seconds=at)), change(Timestamp(seconds=beyond)), field)
        for change, field in ((asked_at, "request_time"), (decided_at, "served.decided_at"))
        for at, beyond in ((YEAR_1, YEAR_1 - 1), (YEAR_9999_END, YEAR_9999_END + 1))
    ],
    "The probability with which it was chosen, in (0, 1]": [
        (served(propensity=1.0), served(propensity=math.nextafter(1.0, 2.0)), "served.propensity"),
        (served(propensity=5e-324), served(propensity=0.0), "served.propensity"),
    ],
}


async def refused(call: Any) -> set[str]:
    """The fields at fault when a call is INVALID_ARGUMENT, long ones cut; none when it ends in any other way."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        trailers: dict[str, Any] = dict(error.trailing_metadata())
        return {field[:TOLD] for field in read_status(Status.FromString(trailers["grpc-status-details-bin"])).fields}
    return set()


@pytest.mark.parametrize("limit", SCORES)
async def test_a_limit_of_score_is_named_and_held(here: World, limit: str) -> None:
    assert limit in CONTRACT
    for at, beyond, field in SCORES[limit]:
        assert field[:TOLD] not in await refused(here.bandit.Score(at)), at
        assert field[:TOLD] in await refused(here.bandit.Score(beyond)), beyond


async def test_ids_of_the_other_calls_are_held_to_the_same(here: World) -> None:
    edges: list[tuple[Any, str, Callable[[str], Message]]] = [
        (here.bandit.Activate, "decision_id", lambda text: pb.ActivateRequest(decision_id=text)),
        (here.bandit.Reward, "decision_id", lambda text: pb.RewardRequest(decision_id=text, value=0)),
        (here.bandit.Reward, "reward_id", lambda text: pb.RewardRequest(decision_id="d", reward_id=text, value=0)),
        (here.policies.GetPolicy, "policy", lambda text: policy_pb2.GetPolicyRequest(policy=text)),
        (here.policies.GetEvidence, "policy", lambda text: policy_pb2.GetEvidenceRequest(policy=text, scope="s")),
        (here.policies.GetEvidence, "scope", lambda text: policy_pb2.GetEvidenceRequest(policy="shop", scope=text)),
        (here.policies.ForgetScope, "scope", lambda text: policy_pb2.ForgetScopeRequest(scope=text)),
        (here.policies.ForgetScope, "policy", lambda text: policy_pb2.ForgetScopeRequest(scope="s", policy=text)),
    ]
    for call, field, change in edges:
        for at, beyond, _ in ids(change, lambda _: ""):
            assert field not in await refused(call(at)), at
            assert field in await refused(call(beyond)), beyond


async def test_a_reward_is_within_its_policys_range_and_at_a_time(here: World) -> None:
    assert "within the policy's range of rewards" in CONTRACT
    decision_id = await here.decide(policy="summed")
    for k, (at, beyond) in enumerate([(1.0, math.nextafter(1.0, 2)), (-1.0, math.nextafter(-1.0, -2)), (0.0, math.nan)]):
        fields: dict[str, Any] = {"decision_id": decision_id, "reward_id": f"{k}"}
        assert await refused(here.bandit.Reward(pb.RewardRequest(value=beyond, **fields))) == {"value"}
        assert (await here.bandit.Reward(pb.RewardRequest(value=at, **fields))).status == pb.REWARD_STATUS_APPLIED
    for at_s, beyond_s in ((YEAR_1, YEAR_1 - 1), (YEAR_9999_END, YEAR_9999_END + 1)):
        fields = {"decision_id": decision_id, "reward_id": f"{at_s}", "value": 0.0}
        assert (await refused(here.bandit.Reward(pb.RewardRequest(occurred_at=Timestamp(seconds=beyond_s), **fields)))) == {"occurred_at"}
        assert (await here.bandit.Reward(pb.RewardRequest(occurred_at=Timestamp(seconds=at_s), **fields))).HasField("value")


@pytest.mark.parametrize("size", [1, 100])
async def test_a_batch_holds_as_many_as_the_contract_says(here: World, size: int) -> None:
    assert "1 to 100 requests" in CONTRACT
    assert "1 to 100 rewards" in CONTRACT
    beyond = 101 if size == 100 else 0
    scored = await here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * size))
    assert [result.HasField("response") for result in scored.results] == [True] * size
    rewards = [pb.RewardRequest(decision_id=result.response.decision_id, value=1) for result in scored.results]
    answered = await here.bandit.BatchReward(pb.BatchRewardRequest(requests=rewards))
    assert [result.response.status for result in answered.results] == [pb.REWARD_STATUS_APPLIED] * size
    assert (await refused(here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * beyond)))) == {"requests"}
    assert (await refused(here.bandit.BatchReward(pb.BatchRewardRequest(requests=rewards[:1] * beyond)))) == {"requests"}


async def test_a_message_is_as_long_as_the_contract_says(here: World) -> None:
    assert "A message is at most 4 MiB" in CONTRACT
    call: Any = here.channel.unary_unary("/ooml.bandit.v1.PolicyService/ListPolicies")
    unknown_field = b"\x7a" + b"\xfb\xff\xff\x01"  # field 15, a text of as many bytes as are left: old servers pass over it
    longest = unknown_field + b"x" * (MAX_BYTES - len(unknown_field))
    assert policy_pb2.ListPoliciesResponse.FromString(await call(longest)).policies[0].name == "shop"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(longest + b"x")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
