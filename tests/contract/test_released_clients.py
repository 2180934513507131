"""A client built from a released image is answered by the server of now, whatever it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from cli.embedded import EmbeddedServer
from protos.promised import PROTOS, images, read
from tests.serving.server import publish_toy, reason, serving

IMAGES = list(images(PROTOS).values())
PACKAGE = "ooml.bandit.v1"


class OldClient:
    """Stubs made of an image alone; remembers which methods it called."""

    def __init__(self, image: FileDescriptorSet, channel: grpc.aio.Channel) -> None:
        pool = DescriptorPool()
        for file in image.file:  # those that are imported come first
            pool.AddSerializedFile(file.SerializeToString())
        services = [pool.FindServiceByName(f"{f.package}.{s.name}") for f in image.file for s in f.service]
        self.methods: dict[str, MethodDescriptor] = {method.name: method for service in services for method in service.methods}
        self.called: set[str] = set()
        self._pool = pool
        self._channel = channel

    def message(self, name: str, **fields: Any) -> Any:
        """A message of the released contract."""
        return GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))(**fields)

    async def call(self, name: str, **fields: Any) -> Any:
        """The answer to a call."""
        method = self.methods[name]
        self.called.add(name)
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        kind = self._channel.stream_stream if method.client_streaming else self._channel.unary_unary
        path = f"/{method.containing_service.full_name}/{name}"
        call: Any = kind(path, request.SerializeToString, response.FromString)
        if method.client_streaming:
            (answer,) = [one async for one in call(iter([request(**fields)]), timeout=10)]
            return answer
        return await call(request(**fields), timeout=10)


@pytest.fixture(params=IMAGES, ids=[image.stem for image in IMAGES])
async def old(request: pytest.FixtureRequest, clean_valkey: EmbeddedServer, tmp_path: Path) -> AsyncIterator[OldClient]:
    publish_toy(clean_valkey, tmp_path)
    async with serving(clean_valkey, tmp_path) as server, server.channel() as channel:
        yield OldClient(read(request.param), channel)


async def test_every_call_of_a_released_client_is_answered(old: OldClient) -> None:
    candidates = [old.message("Candidate", id="x"), old.message("Candidate", id="y", arm="z")]
    ask: dict[str, Any] = {"policy": "toy", "entities": {"user_id": "u"}, "context": {"a": 1.0}, "candidates": candidates}

    decision = await old.call("Score", **ask, explain=True)
    assert decision.candidate_id in ("x", "y")
    assert sorted((c.candidate_id, c.arm, dict(c.features)) for c in decision.ranking) == [("x", "x", {"a": 1.0}), ("y", "z", {"a": 1.0})]
    applied = await old.call("Reward", decision_id=decision.decision_id, value=1.0)
    assert (applied.status, applied.value) == (1, 1.0)

    deferred = await old.call("Score", **ask, deferred=True)
    assert not deferred.HasField("reward_deadline")
    assert (await old.call("Activate", decision_id=deferred.decision_id)).reward_deadline.seconds > 0

    batch = await old.call("BatchScore", requests=[old.message("ScoreRequest", **ask), old.message("ScoreRequest", policy="shoe")])
    assert [result.WhichOneof("result") for result in batch.results] == ["response", "error"]
    rewards = [old.message("RewardRequest", decision_id=batch.results[0].response.decision_id, value=0.5)] * 2
    answered = await old.call("BatchReward", requests=rewards)
    assert sorted(result.response.status for result in answered.results) == [1, 2]

    reply = await old.call("ScoreStream", sequence=7, request=old.message("ScoreRequest", **ask))
    assert (reply.sequence, reply.response.policy_version) == (7, 1)

    (listed,) = (await old.call("ListPolicies")).policies
    assert (await old.call("GetPolicy", policy="toy")).policy == listed
    assert (listed.name, listed.version, list(listed.columns), listed.spec["scope"]) == ("toy", 1, ["a"], "user_id")
    taught = (await old.call("GetEvidence", policy="toy", scope="u")).arms
    assert sum(arm.count for arm in taught) == 4
    await old.call("ForgetScope", scope="u")
    assert list((await old.call("GetEvidence", policy="toy", scope="u")).arms) == []
    assert old.called == old.methods.keys()


async def test_an_error_reaches_a_released_client_with_its_reason(old: OldClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await old.call("Score", policy="shoe")
    assert reason(caught.value) == ("ERROR_REASON_INVALID_REQUEST", False)
