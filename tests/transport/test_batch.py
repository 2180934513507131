"""Several requests in one call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import StatusCode
from ooml.bandit.v1 import bandit_pb2 as pb

from serving.transport.bandit_servicer import BATCH_WIDTH
from tests.transport.harness import World, failure, read_status, score_request


async def test_results_come_in_order_and_one_failure_spares_the_rest(here: World) -> None:
    requests = [score_request(candidates=[pb.Candidate(id=f"c{k}")], entities={"user_id": f"u{k}"}) for k in range(100)]
    requests[40] = score_request(candidates=[])
    requests[41] = score_request(policy="shoe")
    results = (await here.bandit.BatchScore(pb.BatchScoreRequest(requests=requests))).results
    assert [r.response.candidate_id for r in results] == ["" if k in (40, 41) else f"c{k}" for k in range(100)]
    assert read_status(results[40].error).fields == {"candidates": "must be 1 to 500, got 0"}
    assert read_status(results[41].error).reason == "UNKNOWN_POLICY"
    assert here.heard.calls == [("BatchScore", "", "OK")]


async def test_a_malformed_request_of_a_batch_is_refused_and_spares_the_rest(here: World) -> None:
    good = score_request().SerializeToString()
    bodies = [good, b"\n", b"\n\x04shop\x22\x01\n", good]
    call: Any = here.channel.unary_unary("/ooml.bandit.v1.BanditService/BatchScore", None, pb.BatchScoreResponse.FromString)
    results = (await call(b"".join(b"\n" + bytes([len(body)]) + body for body in bodies))).results
    assert [result.HasField("response") for result in results] == [True, False, False, True]
    assert {result.error.message for result in results[1:3]} == {"the request is not a message of this method's type"}


async def test_rewards_come_back_in_order(here: World) -> None:
    ids = [await here.decide() for _ in range(3)]
    requests = [pb.RewardRequest(decision_id=d, value=v) for d, v in zip(ids, (0.25, 2.0, 0.75), strict=True)]
    results = (await here.bandit.BatchReward(pb.BatchRewardRequest(requests=requests))).results
    assert [r.response.value for r in results] == [0.25, 0.0, 0.75]
    assert read_status(results[1].error).fields == {"value": "must be within [-1, 1], got 2"}


@pytest.mark.parametrize("size", [0, 101])
async def test_a_batch_is_1_to_100_requests(here: World, size: int) -> None:
    for call in (
        here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * size)),
        here.bandit.BatchReward(pb.BatchRewardRequest(requests=[pb.RewardRequest()] * size)),
    ):
        seen = await failure(call)
        assert (seen.code, seen.fields) == (StatusCode.INVALID_ARGUMENT, {"requests": f"must be 1 to 100, got {size}"})


async def test_requests_of_a_batch_are_decided_together(here: World) -> None:
    here.obstacles.open.clear()
    batch = asyncio.ensure_future(here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * 50), timeout=10))
    await here.obstacles.until_waiting(50)
    here.obstacles.open.set()
    assert all(r.HasField("response") for r in (await batch).results)


async def test_a_few_rewards_of_a_batch_are_worked_on_at_a_time(here: World) -> None:
    requests = [pb.RewardRequest(decision_id=await here.decide(), value=1) for _ in range(50)]
    here.obstacles.open.clear()
    batch = asyncio.ensure_future(here.bandit.BatchReward(pb.BatchRewardRequest(requests=requests), timeout=10))
    await here.obstacles.until_waiting(BATCH_WIDTH)
    here.obstacles.open.set()
    assert all(r.HasField("response") for r in (await batch).results)
    assert here.obstacles.most_waiting == BATCH_WIDTH


async def test_a_batch_whose_store_hangs_tells_of_each_request_within_its_deadline(here: World) -> None:
    here.obstacles.open.clear()
    results = (await here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * 20), timeout=2.5)).results
    seen = [read_status(r.error) for r in results]
    assert [(s.reason, s.code) for s in seen] == [("STORE_UNAVAILABLE", StatusCode.UNAVAILABLE)] * 20
    await here.obstacles.until_waiting(0)


async def test_what_has_its_answer_when_the_store_hangs_is_told(here: World) -> None:
    here.obstacles.open.clear()
    batch = pb.BatchScoreRequest(requests=[score_request(candidates=[]), score_request(), score_request(policy="shoe")])
    results = (await here.bandit.BatchScore(batch, timeout=2.5)).results
    assert [read_status(r.error).reason for r in results] == ["INVALID_REQUEST", "STORE_UNAVAILABLE", "UNKNOWN_POLICY"]
