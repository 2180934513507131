"""Every row of the contract's error table, through a real channel."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import policy_pb2
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceStub
from structlog.testing import capture_logs

from serving.ports import Unavailable
from serving.transport.errors import PermissionDenied, Unauthenticated
from tests.transport.harness import GRACE_S, UNKNOWN_ID, WINDOW_S, World, failure, score_request, world

A = pb.Candidate(id="a")


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"candidates": []}, "candidates", "must be 1 to 500, got 0"),
        ({"candidates": [pb.Candidate(id=f"c{k}") for k in range(501)]}, "candidates", "must be 1 to 500, got 501"),
        ({"candidates": [A, A]}, "candidates[1].id", "'a' is already the id of candidates[0]"),
        ({"candidates": [pb.Candidate(id="")]}, "candidates[0].id", "must not be empty"),
        ({"candidates": [pb.Candidate(id="é" * 129)]}, "candidates[0].id", "must be at most 256 bytes of UTF-8, got 258"),
        ({"candidates": [pb.Candidate(id="a\n")]}, "candidates[0].id", "must not hold control characters"),
        ({"candidates": [pb.Candidate(id="a", arm="\x9f")]}, "candidates[0].arm", "must not hold control characters"),
        (
            {"candidates": [A, pb.Candidate(id="b", features={"price": math.nan})]},
            "candidates[1].features['price']",
            "must be a finite number, got nan",
        ),
        ({"context": {"rain": math.inf}}, "context['rain']", "must be a finite number, got inf"),
        ({"context": {"rain": 1e7}}, "candidates[0]", "feature rain must be within ±1e+06, got 1e+07"),
        ({"context": {"rian": 1.0}}, "context['rian']", "policy shop takes no such feature from callers; it takes price, rain"),
        ({"policy": "strict", "context": {}}, "candidates[0]", "feature rain is missing, and policy strict rejects that"),
        ({"entities": {}}, "entities['user_id']", "required: policy shop keeps evidence per user_id"),
        ({"entities": {"user_id": "u", "": "x"}}, "entities['']", "its name must not be empty"),
        ({"entities": {"user_id": "u", "a\n": "x"}}, "entities['a\\n']", "its name must not hold control characters"),
        (
            {"candidates": [pb.Candidate(id="a", entities={"é" * 129: "x"})]},
            f"candidates[0].entities['{'é' * 129}']",
            "its name must be at most 256 bytes of UTF-8, got 258",
        ),
        ({"policy": ""}, "policy", "must not be empty"),
        ({"request_id": "x" * 257}, "request_id", "must be at most 256 bytes of UTF-8, got 257"),
        ({"request_time": Timestamp(seconds=253_402_300_800)}, "request_time", "must be a time within the years 1 to 9999"),
        ({"request_time": Timestamp(nanos=-1)}, "request_time", "must be a time within the years 1 to 9999"),
        ({"utc_offset": Duration(seconds=64_801)}, "utc_offset", "must be within ±18 h, got 64801 s"),
        ({"utc_offset": Duration(seconds=1, nanos=-1)}, "utc_offset", "must be within ±18 h, got nan s"),
        ({"served": pb.Served(candidate_id="z", propensity=1)}, "served.candidate_id", "'z' is not among the candidates"),
        ({"served": pb.Served(candidate_id="a")}, "served.propensity", "must be within (0, 1], got 0"),
    ],
)
async def test_a_score_that_breaks_the_contract_is_invalid_and_names_the_field(here: World, changes: Any, field: str, why: str) -> None:
    seen = await failure(here.bandit.Score(score_request(**changes)))
    assert (seen.code, seen.reason, seen.retry_after_s) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", None)
    assert seen.fields[field] == why


async def test_every_mistake_of_a_request_is_named_in_one_answer(here: World) -> None:
    request = score_request(
        entities={"user_id": ""},
        context={"rain": math.nan},
        candidates=[A, A, pb.Candidate(id="b", features={"prise": 1.0})],
        request_time=Timestamp(nanos=-1),
        utc_offset=Duration(seconds=-70_000),
    )
    seen = await failure(here.bandit.Score(request))
    assert set(seen.fields) == {
        "entities['user_id']",
        "context['rain']",
        "candidates[1].id",
        "candidates[2].features['prise']",
        "request_time",
        "utc_offset",
    }
    assert seen.message == "entities['user_id']: must not be empty (and 5 more)"


async def test_more_mistakes_than_a_header_holds_are_counted(here: World) -> None:
    seen = await failure(here.bandit.Score(score_request(candidates=[A] * 500)))
    *named, rest = seen.fields.items()
    assert named[0] == ("candidates[1].id", "'a' is already the id of candidates[0]")
    assert rest == ("", f"and {499 - len(named)} more")
    assert len(named) > 40


@pytest.mark.parametrize(
    ("request_", "field", "why"),
    [
        (pb.RewardRequest(decision_id="", value=0), "decision_id", "must not be empty"),
        (pb.RewardRequest(), "result", "say what came of it: give `value` or `outcome`"),
        (pb.RewardRequest(outcome="stolen"), "outcome", "the policy names no outcome 'stolen'; it names bought, left"),
        (pb.RewardRequest(value=1.5), "value", "must be within [-1, 1], got 1.5"),
        (pb.RewardRequest(value=math.nan), "value", "must be within [-1, 1], got nan"),
        (pb.RewardRequest(value=0, reward_id="\0"), "reward_id", "must not hold control characters"),
        (
            pb.RewardRequest(value=0, occurred_at=Timestamp(seconds=-62_135_596_801)),
            "occurred_at",
            "must be a time within the years 1 to 9999",
        ),
    ],
)
async def test_a_reward_that_breaks_the_contract_is_invalid_and_names_the_field(
    here: World, request_: pb.RewardRequest, field: str, why: str
) -> None:
    request = pb.RewardRequest()
    request.CopyFrom(request_)
    if field != "decision_id":
        request.decision_id = await here.decide()
    seen = await failure(here.bandit.Reward(request))
    assert (seen.code, seen.reason, seen.fields) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", {field: why})


async def test_a_reward_needs_an_id_unless_the_first_one_stands(here: World) -> None:
    seen = await failure(here.bandit.Reward(pb.RewardRequest(decision_id=await here.decide(policy="summed"), value=1)))
    assert seen.fields == {"reward_id": "required, because the policy aggregates `sum`"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "must not be empty"),
        ("x" * 257, "must be at most 256 bytes of UTF-8, got 257"),
        ("x\0", "must not hold control characters"),
    ],
)
async def test_what_is_no_id_is_invalid_wherever_one_is_asked_for(here: World, value: str, why: str) -> None:
    calls: list[tuple[Any, dict[str, str]]] = [
        (here.bandit.Activate(pb.ActivateRequest(decision_id=value)), {"decision_id": why}),
        (here.bandit.Reward(pb.RewardRequest(decision_id=value, value=0)), {"decision_id": why}),
        (here.policies.GetPolicy(policy_pb2.GetPolicyRequest(policy=value)), {"policy": why}),
        (here.policies.GetEvidence(policy_pb2.GetEvidenceRequest(policy=value, scope=value)), {"policy": why, "scope": why}),
    ]
    if value:  # without a policy: from all of them
        calls.append((here.policies.ForgetScope(policy_pb2.ForgetScopeRequest(scope=value, policy=value)), {"policy": why, "scope": why}))
    for call, fields in calls:
        seen = await failure(call)
        assert (seen.code, seen.reason, seen.fields) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", fields)


@pytest.mark.parametrize("nanos", [0, 1, 999_999_999])
async def test_the_last_second_of_the_year_9999_is_a_time(here: World, nanos: int) -> None:
    last = Timestamp(seconds=253_402_300_799, nanos=nanos)
    served = pb.Served(candidate_id="a", propensity=1, decided_at=last)
    decision_id = await here.decide(request_time=last, served=served)
    await here.decide(request_time=last)
    await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=0, occurred_at=last))


async def test_bytes_that_are_no_message_are_invalid(here: World) -> None:
    call: Any = here.channel.unary_unary("/ooml.bandit.v1.BanditService/Score")
    seen = await failure(call(b"\xff\xff"))
    assert (seen.code, seen.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert seen.message == "the request is not a message of this method's type"


async def test_an_unknown_policy_is_not_found(here: World) -> None:
    message = "no policy 'shoe' is served; ListPolicies names those that are, `ooml apply` publishes more"
    for call in (
        here.bandit.Score(score_request(policy="shoe")),
        here.policies.GetPolicy(policy_pb2.GetPolicyRequest(policy="shoe")),
        here.policies.GetEvidence(policy_pb2.GetEvidenceRequest(policy="shoe", scope="u1")),
        here.policies.ForgetScope(policy_pb2.ForgetScopeRequest(policy="shoe", scope="u1")),
    ):
        seen = await failure(call)
        assert (seen.code, seen.reason, seen.message) == (StatusCode.NOT_FOUND, "UNKNOWN_POLICY", message)


async def test_a_decision_nobody_made_is_not_found(here: World) -> None:
    namespace = (await here.decide())[2:14]
    for decision_id in ("nonsense", UNKNOWN_ID, f"00{namespace}{'0' * 24}"):
        for call in (
            here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1)),
            here.bandit.Activate(pb.ActivateRequest(decision_id=decision_id)),
        ):
            seen = await failure(call)
            assert (seen.code, seen.reason) == (StatusCode.NOT_FOUND, "UNKNOWN_DECISION")


async def test_a_decision_past_its_grace_is_not_found(here: World) -> None:
    decision_id = await here.decide()
    here.now_s += WINDOW_S + GRACE_S + 1
    seen = await failure(here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1)))
    assert (seen.code, seen.reason) == (StatusCode.NOT_FOUND, "UNKNOWN_DECISION")


async def test_a_reward_before_activation_is_a_failed_precondition(here: World) -> None:
    decision_id = await here.decide(deferred=True)
    seen = await failure(here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1)))
    assert (seen.code, seen.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_ACTIVATED")


async def test_activation_after_a_window_is_a_failed_precondition(here: World) -> None:
    decision_id = await here.decide(deferred=True)
    here.now_s += WINDOW_S + 1
    seen = await failure(here.bandit.Activate(pb.ActivateRequest(decision_id=decision_id)))
    assert (seen.code, seen.reason) == (StatusCode.FAILED_PRECONDITION, "ACTIVATED_TOO_LATE")


async def test_a_forgotten_persons_decision_is_closed(here: World) -> None:
    decision_id = await here.decide()
    await here.policies.ForgetScope(policy_pb2.ForgetScopeRequest(scope="u1"))
    seen = await failure(here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1)))
    assert (seen.code, seen.reason) == (StatusCode.FAILED_PRECONDITION, "SCOPE_FORGOTTEN")


async def test_a_reward_after_the_window_is_late_and_not_learned(here: World) -> None:
    decision_id = await here.decide()
    here.now_s += WINDOW_S + 1
    answer = await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=1))
    assert answer == pb.RewardResponse(status=pb.REWARD_STATUS_LATE, value=0.0)


async def test_a_second_reward_is_a_duplicate_and_changes_nothing(here: World) -> None:
    decision_id = await here.decide()
    first = await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=0.5))
    second = await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=-1, reward_id="r2"))
    assert first == pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=0.5)
    assert second == pb.RewardResponse(status=pb.REWARD_STATUS_DUPLICATE, value=0.5)


async def test_a_request_id_with_another_body_already_exists(here: World) -> None:
    await here.bandit.Score(score_request(request_id="r"))
    seen = await failure(here.bandit.Score(score_request(request_id="r", context={"rain": 0.0})))
    assert (seen.code, seen.reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_an_arm_too_many_is_a_failed_precondition(here: World) -> None:
    for arm in "abc":
        await here.decide(candidates=[pb.Candidate(id=arm)])
    seen = await failure(here.bandit.Score(score_request(candidates=[pb.Candidate(id="d")])))
    assert (seen.code, seen.reason) == (StatusCode.FAILED_PRECONDITION, "ARM_LIMIT_REACHED")


async def test_the_hundred_and_first_reward_is_a_failed_precondition(here: World) -> None:
    decision_id = await here.decide(policy="summed")
    for k in range(100):
        await here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=0.01, reward_id=str(k)))
    seen = await failure(here.bandit.Reward(pb.RewardRequest(decision_id=decision_id, value=0.01, reward_id="100")))
    assert (seen.code, seen.reason) == (StatusCode.FAILED_PRECONDITION, "REWARD_LIMIT_REACHED")


async def test_a_store_that_is_away_is_unavailable_with_a_time_to_retry(here: World) -> None:
    here.obstacles.error = Unavailable("the store does not answer")
    seen = await failure(here.bandit.Score(score_request()))
    assert (seen.code, seen.reason, seen.retry_after_s) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 0.5)


async def test_grpcs_own_retry_waits_as_long_as_it_is_told(here: World) -> None:
    soon = {"maxAttempts": 2, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1}
    policy = {"name": [{}], "retryPolicy": {**soon, "retryableStatusCodes": ["UNAVAILABLE"]}}
    here.obstacles.error = Unavailable("the store does not answer")
    service_config = json.dumps({"methodConfig": [policy]})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{here.port}", [("grpc.service_config", service_config)]) as channel:
        began = time.monotonic()
        call = asyncio.ensure_future(BanditServiceStub(channel).Score(score_request(), timeout=10))
        await here.heard.until_ended(1)
        here.obstacles.error = None
        assert (await call).decision_id
    assert time.monotonic() - began >= 0.5
    assert [code for _, _, code in here.heard.calls] == ["UNAVAILABLE", "OK"]


async def test_a_mistake_of_ours_is_internal_and_keeps_its_text_to_itself(here: World) -> None:
    here.obstacles.error = KeyError("password=hunter2")
    with capture_logs() as lines:
        seen = await failure(here.bandit.Score(score_request()))
    assert (seen.code, seen.reason, seen.message) == (StatusCode.INTERNAL, "INTERNAL", "internal error; it has been logged")
    assert [(line["log_level"], line["event"], line["method"]) for line in lines] == [
        ("error", "call failed", "Score"),
        ("debug", "call", "Score"),
    ]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Unauthenticated("no key"), StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (PermissionDenied("readers may not score"), StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    ],
)
async def test_a_caller_who_may_not_is_turned_away(error: Exception, code: StatusCode, reason: str) -> None:
    asked = []

    def gate(method: str, metadata: Any) -> None:
        asked.append((method, metadata().get("key")))
        raise error

    async with world(gate=gate) as here:
        seen = await failure(here.bandit.Score(score_request(), metadata=(("key", "k"),)))
        stream = here.bandit.ScoreStream(iter([]))
        seen_by_stream = await failure(stream.read())
    assert (seen.code, seen.reason, seen.message) == (code, reason, str(error))
    assert (seen_by_stream.code, seen_by_stream.reason) == (code, reason)
    assert asked == [("/ooml.bandit.v1.BanditService/Score", "k"), ("/ooml.bandit.v1.BanditService/ScoreStream", None)]
    assert here.heard.decisions == []
