"""Who may call what: every method of both services, with every kind of credential."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode
from ooml.bandit.v1 import bandit_pb2, policy_pb2
from ooml.bandit.v1 import bandit_pb2 as pb
from structlog.testing import capture_logs

from serving.access.caller import METHODS, Role
from serving.access.doorman import Doorman
from serving.access.keys import new_secret
from serving.access.rates import Meters, Rate
from serving.memory.allowances import MemoryAllowances
from serving.memory.keyring import MemoryKeyring
from serving.transport.admission import asking_for_credentials
from serving.transport.server import SERVICES
from tests.access.build import key
from tests.transport.harness import Failure, World, failure, read_status, score_request, world

METHOD_TYPES: Mapping[str, tuple[Any, Any]] = {
    f"/{service.full_name}/{method.name}": (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
    for file in (bandit_pb2, policy_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
LEAST_ROLE: Mapping[str, Role] = {
    "ListPolicies": Role.READER,
    "GetPolicy": Role.READER,
    "GetEvidence": Role.READER,
    "Score": Role.WRITER,
    "Reward": Role.WRITER,
    "Activate": Role.WRITER,
    "BatchScore": Role.WRITER,
    "BatchReward": Role.WRITER,
    "ScoreStream": Role.WRITER,
    "ForgetScope": Role.ADMIN,
}
"""Stated again on purpose: a method added to the contract, or opened to a role, must be added here by hand."""
OF_ITEMS = {"Reward", "Activate", "BatchScore", "BatchReward", "ScoreStream", "ListPolicies"}
"""Methods whose request names no policy itself; each is tested below by name."""
REFUSED = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}
FOREIGN = "strict"
"""A policy that is served, and not to the key `limited` makes."""


@dataclass
class Guarded:
    """A server that asks for credentials, and its keys."""

    here: World
    keyring: MemoryKeyring

    def credential(self, role: Role = Role.WRITER, policies: Collection[str] | None = None, **limits: Any) -> tuple[tuple[str, str]]:
        """Metadata with a new key."""
        made, header = key(role, policies, **limits)
        self.keyring.put(made)
        return (("authorization", header),)

    async def call(self, method: str, request: Message, metadata: Any = None, *, refused: bool = False) -> Any:
        """The answer of any method, by its full name; of a stream, its first.

        Args:
            refused: that it will be. Nothing is sent on such a stream: grpc.aio's client says INTERNAL, now and then, of what it would
                send on one that has ended, in place of the status it ended with.
        """
        request_type, response_type = METHOD_TYPES[method]
        serialize, parse = request_type.SerializeToString, response_type.FromString
        if method.endswith("Stream"):
            channel: Any = self.here.channel
            return await channel.stream_stream(method, serialize, parse)(None if refused else iter([request]), metadata=metadata).read()
        unary: Any = self.here.channel.unary_unary(method, serialize, parse)
        return await unary(request, metadata=metadata)


@asynccontextmanager
async def guarded() -> AsyncIterator[Guarded]:
    keyring = MemoryKeyring()
    door = Doorman(keyring, None, Meters(MemoryAllowances()))
    async with world(gate=asking_for_credentials(door, lambda method, metadata: None)) as here:
        yield Guarded(here, keyring)


@pytest.fixture
async def door() -> AsyncIterator[Guarded]:
    async with guarded() as running:
        yield running


def test_every_method_there_is_has_its_role_and_nothing_else_has() -> None:
    assert {method.rpartition("/")[2] for method in METHOD_TYPES} == LEAST_ROLE.keys()
    assert METHODS[Role.ADMIN] == METHOD_TYPES.keys()
    assert {method.split("/")[1] for method in METHOD_TYPES} == set(SERVICES)
    assert METHODS[Role.READER] < METHODS[Role.WRITER] < METHODS[Role.ADMIN]


@pytest.mark.parametrize("method", METHOD_TYPES)
@pytest.mark.parametrize("role", Role)
async def test_a_role_may_call_what_it_is_for_and_no_more(door: Guarded, role: Role, method: str) -> None:
    order = list(Role)
    may = order.index(role) >= order.index(LEAST_ROLE[method.rpartition("/")[2]])
    code = await _code(door.call(method, METHOD_TYPES[method][0](), door.credential(role), refused=not may))
    assert (code not in REFUSED) if may else (code is StatusCode.PERMISSION_DENIED)
    assert door.here.heard.refusals == ([] if may else ["role"])


@pytest.mark.parametrize("method", METHOD_TYPES)
async def test_without_a_good_credential_no_method_answers(door: Guarded, method: str) -> None:
    request = METHOD_TYPES[method][0]()
    expired, revoked = door.credential(Role.ADMIN, expires_at=1.0), door.credential(Role.ADMIN, revoked_at=1.0)
    good = door.credential(Role.ADMIN)[0][1]
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    seen = []
    for metadata in (
        None,
        (("authorization", wrong),),
        (("authorization", f"Bearer {new_secret()[1]}"),),
        expired,
        revoked,
        (("authorization", good.removeprefix("Bearer ")),),
        (("x-api-key", good),),
    ):
        seen.append(await failure(door.call(method, request, metadata, refused=True)))
    assert {(f.code, f.reason) for f in seen} == {(StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")}
    assert len({f.message for f in seen}) == 1  # which of it, nobody is told
    assert door.here.heard.refusals == ["missing", "key", "key", "expired", "revoked", "malformed", "missing"]


async def test_bytes_that_are_no_message_need_a_credential_too(door: Guarded) -> None:
    raw: Any = door.here.channel.unary_unary("/ooml.bandit.v1.BanditService/Score")
    assert (await failure(raw(b"\xff\xff"))).reason == "UNAUTHENTICATED"
    assert (await failure(raw(b"\xff\xff", metadata=door.credential()))).reason == "INVALID_REQUEST"


@pytest.mark.parametrize("method", METHOD_TYPES)
async def test_a_policy_that_is_not_the_keys_is_as_one_that_is_not_there(door: Guarded, method: str) -> None:
    request_type = METHOD_TYPES[method][0]
    if "policy" not in request_type.DESCRIPTOR.fields_by_name:
        assert method.rpartition("/")[2] in OF_ITEMS
        return
    limited = door.credential(Role.ADMIN, ["shop", "gone"])
    foreign, missing = [await failure(door.call(method, request_type(policy=name), limited)) for name in (FOREIGN, "nowhere")]
    assert _without(foreign, FOREIGN) == _without(missing, "nowhere")
    assert (foreign.code, foreign.reason) == (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert door.here.heard.refusals == ["policy"] * 2
    allowed = await failure(door.call(method, _full(request_type, "gone"), limited))
    assert (allowed.code, allowed.reason) == (StatusCode.NOT_FOUND, "UNKNOWN_POLICY")
    assert not any(name in allowed.message for name in ("shop", FOREIGN, "summed"))
    assert await _code(door.call(method, _full(request_type, "shop"), limited)) is StatusCode.OK


async def test_a_key_of_no_policy_may_work_with_none(door: Guarded) -> None:
    none = door.credential(Role.ADMIN, [])
    assert (await failure(door.here.bandit.Score(score_request(), metadata=none))).reason == "PERMISSION_DENIED"
    assert (await door.here.policies.ListPolicies(policy_pb2.ListPoliciesRequest(), metadata=none)).policies == []


async def test_a_list_names_the_keys_policies_alone(door: Guarded) -> None:
    async def names(metadata: Any) -> list[str]:
        return [p.name for p in (await door.here.policies.ListPolicies(policy_pb2.ListPoliciesRequest(), metadata=metadata)).policies]

    assert await names(door.credential(Role.READER, ["summed", "shop", "gone"])) == ["shop", "summed"]
    assert await names(door.credential(Role.READER)) == ["shop", "strict", "summed"]


async def test_forgetting_a_person_everywhere_takes_a_key_for_all_policies(door: Guarded) -> None:
    everywhere = policy_pb2.ForgetScopeRequest(scope="u1")
    limited = door.credential(Role.ADMIN, ["shop", "strict", "summed"])
    assert (await failure(door.here.policies.ForgetScope(everywhere, metadata=limited))).reason == "PERMISSION_DENIED"
    await door.here.policies.ForgetScope(everywhere, metadata=door.credential(Role.ADMIN))


async def test_items_of_a_batch_are_refused_alone(door: Guarded) -> None:
    limited = door.credential(policies=["shop"])
    names = ("shop", FOREIGN, "nowhere", "shop")
    batch = pb.BatchScoreRequest(requests=[score_request(policy=name) for name in names])
    results = (await door.here.bandit.BatchScore(batch, metadata=limited)).results
    assert [r.HasField("response") for r in results] == [True, False, False, True]
    foreign, missing = (read_status(results[i].error) for i in (1, 2))
    assert foreign.reason == "PERMISSION_DENIED"
    assert _without(foreign, FOREIGN) == _without(missing, "nowhere")
    assert door.here.heard.decisions == ["shop", "shop"]
    assert door.here.heard.refusals == ["policy", "policy"]


async def test_items_of_a_stream_are_refused_alone(door: Guarded) -> None:
    names = ("shop", FOREIGN, "nowhere", "shop")
    items = [pb.ScoreStreamRequest(sequence=k, request=score_request(policy=name)) for k, name in enumerate(names)]
    call = door.here.bandit.ScoreStream(iter(items), metadata=door.credential(policies=["shop"]))
    replies = {reply.sequence: reply async for reply in call}
    assert [replies[k].HasField("response") for k in range(4)] == [True, False, False, True]
    foreign, missing = (read_status(replies[k].error) for k in (1, 2))
    assert foreign.reason == "PERMISSION_DENIED"
    assert _without(foreign, FOREIGN) == _without(missing, "nowhere")


async def test_a_decision_of_another_policy_is_as_one_that_is_not_there(door: Guarded) -> None:
    everything, limited = door.credential(), door.credential(policies=["shop"])
    mine, theirs = [
        (await door.here.bandit.Score(score_request(policy=name, deferred=True), metadata=everything)).decision_id
        for name in ("shop", "summed")
    ]
    ids = [theirs, theirs[:2] + "0" * 36, theirs[:-1] + ("0" if theirs[-1] != "0" else "1"), "nonsense"]
    seen = [await failure(door.here.bandit.Activate(pb.ActivateRequest(decision_id=one), metadata=limited)) for one in ids]
    rewards = [pb.RewardRequest(decision_id=one, outcome="no such outcome") for one in ids]
    seen += [await failure(door.here.bandit.Reward(reward, metadata=limited)) for reward in rewards]
    batch = pb.BatchRewardRequest(requests=[*rewards, pb.RewardRequest(decision_id=mine[:-1] + "x", value=1)])
    results = (await door.here.bandit.BatchReward(batch, metadata=limited)).results
    seen += [read_status(result.error) for result in results]
    assert {(f.code, f.reason, f.message) for f in seen} == {(StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", seen[0].message)}
    await door.here.bandit.Activate(pb.ActivateRequest(decision_id=mine), metadata=limited)
    assert (await door.here.bandit.Reward(pb.RewardRequest(decision_id=mine, value=1), metadata=limited)).value == 1
    assert (
        await failure(door.here.bandit.Reward(pb.RewardRequest(decision_id="nonsense", value=1), metadata=everything))
    ).reason == "UNKNOWN_DECISION"


async def test_an_open_stream_is_refused_once_its_key_is_revoked(door: Guarded) -> None:
    made, header = key()
    door.keyring.put(made)
    call = door.here.bandit.ScoreStream(metadata=(("authorization", header),))
    await call.write(pb.ScoreStreamRequest(sequence=1, request=score_request()))
    assert (await _reply(call)).HasField("response")
    door.keyring.put(replace(made, revoked_at=1.0))
    await call.write(pb.ScoreStreamRequest(sequence=2, request=score_request()))
    assert read_status((await _reply(call)).error).reason == "UNAUTHENTICATED"
    door.keyring.put(replace(made, role=Role.READER))
    await call.write(pb.ScoreStreamRequest(sequence=3, request=score_request()))
    assert read_status((await _reply(call)).error).reason == "PERMISSION_DENIED"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_calls_beyond_the_rate_are_told_when_to_come_again(door: Guarded) -> None:
    limited = door.credential(rate=Rate(0.5, 3))
    for _ in range(3):
        await door.here.bandit.Score(score_request(), metadata=limited)
    seen = await failure(door.here.bandit.Score(score_request(), metadata=limited))
    assert (seen.code, seen.reason) == (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert seen.retry_after_s == pytest.approx(2.0, abs=1.0)
    assert door.here.heard.refusals == ["rate"]
    await door.here.bandit.Score(score_request(), metadata=door.credential())


async def test_a_batch_counts_as_its_items_and_one_that_never_fits_says_so(door: Guarded) -> None:
    limited = door.credential(rate=Rate(0.001, 5))
    too_many = await failure(door.here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * 6), metadata=limited))
    assert (too_many.reason, too_many.fields) == ("INVALID_REQUEST", {"requests": "this credential's rate allows at most 5 at once, got 6"})
    rewards = pb.BatchRewardRequest(requests=[pb.RewardRequest(decision_id="x", value=1)] * 3)
    assert len((await door.here.bandit.BatchReward(rewards, metadata=limited)).results) == 3
    assert (await failure(door.here.bandit.BatchReward(rewards, metadata=limited))).reason == "RATE_LIMITED"
    assert len((await door.here.bandit.BatchScore(pb.BatchScoreRequest(requests=[score_request()] * 2), metadata=limited)).results) == 2
    assert (await failure(door.here.bandit.Score(score_request(), metadata=limited))).reason == "RATE_LIMITED"


async def test_each_request_of_a_stream_counts(door: Guarded) -> None:
    items = [pb.ScoreStreamRequest(sequence=k, request=score_request()) for k in range(9)]
    call = door.here.bandit.ScoreStream(iter(items), metadata=door.credential(rate=Rate(0.001, 4)))
    replies = {reply.sequence: reply async for reply in call}
    assert sorted(k for k, reply in replies.items() if reply.HasField("response")) == [0, 1, 2, 3]
    assert {read_status(replies[k].error).reason for k in range(4, 9)} == {"RATE_LIMITED"}


async def test_the_log_names_the_key_and_tells_no_secret(door: Guarded) -> None:
    made, header = key(policies=["shop"])
    door.keyring.put(made)
    secret = header.rpartition(f"{made.id}_")[2]
    with capture_logs() as lines:
        await door.here.bandit.Score(score_request(), metadata=(("authorization", header),))
        call = door.here.bandit.ScoreStream(iter([pb.ScoreStreamRequest(request=score_request())]), metadata=(("authorization", header),))
        await call.read()
        refused = await failure(door.here.bandit.Score(score_request(policy=FOREIGN), metadata=(("authorization", header),)))
        bad = await failure(door.here.bandit.Score(score_request(), metadata=(("authorization", header + "x"),)))
    assert [(line["method"], line["caller"]) for line in lines] == [
        ("Score", made.id),
        ("ScoreStream", made.id),
        ("Score", made.id),
        ("Score", ""),
    ]
    assert secret not in f"{lines}{refused}{bad}"
    assert made.digest not in f"{lines}{refused}{bad}"


async def test_one_callers_call_never_passes_for_anothers(door: Guarded) -> None:
    """Who calls is known per task, and work of several callers is done together."""
    shop, strict = door.credential(policies=["shop"]), door.credential(policies=["strict"])

    async def decide(metadata: Any) -> str:
        batch = pb.BatchScoreRequest(requests=[score_request(policy=name) for name in ("shop", "strict")])
        results = (await door.here.bandit.BatchScore(batch, metadata=metadata)).results
        return "".join("x" if result.HasField("error") else "o" for result in results)

    seen = await asyncio.gather(*(decide(each) for _ in range(20) for each in (shop, strict)))
    assert seen == ["ox", "xo"] * 20


def _full(request_type: Any, policy: str) -> Message:
    """A request that succeeds where there is such a policy."""
    if request_type is pb.ScoreRequest:
        return score_request(policy=policy)
    request: Message = request_type(policy=policy)
    if "scope" in request_type.DESCRIPTOR.fields_by_name:
        request.scope = "u1"  # type: ignore[attr-defined]
    return request


def _without(seen: Failure, name: str) -> Failure:
    return replace(seen, message=seen.message.replace(name, "?"))


async def _code(call: Any) -> StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


async def _reply(call: Any) -> pb.ScoreStreamResponse:
    reply = await call.read()
    assert isinstance(reply, pb.ScoreStreamResponse)
    return reply
