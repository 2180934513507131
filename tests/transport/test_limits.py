"""How long a call may take, how many there may be, and how a server ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from ooml.bandit.v1 import bandit_pb2 as pb

from serving.transport.calls import Limits
from serving.transport.server import SERVICES
from tests.transport.harness import World, failure, score_request, world


async def test_a_store_that_hangs_is_unavailable_within_the_deadline(here: World) -> None:
    here.obstacles.open.clear()
    seen = await failure(here.bandit.Score(score_request(), timeout=2.5))
    assert (seen.code, seen.reason, seen.retry_after_s) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 0.5)
    await here.obstacles.until_waiting(0)


async def test_the_default_deadline_is_one_second(here: World) -> None:
    here.obstacles.open.clear()
    began = time.monotonic()
    assert (await failure(here.bandit.Score(score_request()))).reason == "STORE_UNAVAILABLE"
    assert 0.85 < time.monotonic() - began < 5.0
    assert Limits().default_deadline_s == 1.0


async def test_a_later_deadline_of_the_callers_is_respected() -> None:
    async with world(Limits(default_deadline_s=0.05)) as here:
        here.obstacles.open.clear()
        call = asyncio.ensure_future(here.bandit.Score(score_request(), timeout=10))
        await here.obstacles.until_waiting(1)
        assert await asyncio.wait({call}, timeout=0.2) == (set(), {call})
        here.obstacles.open.set()
        assert (await call).decision_id


async def test_a_call_without_time_left_is_not_begun(here: World) -> None:
    async with world(Limits(default_deadline_s=0.0005)) as here:
        seen = await failure(here.bandit.Score(score_request()))
        assert (seen.code, seen.reason) == (StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert here.obstacles.most_waiting == 0


async def test_a_call_too_many_is_refused_at_once_and_room_comes_back() -> None:
    async with world(Limits(max_in_flight=2)) as here:
        here.obstacles.open.clear()
        calls = [asyncio.ensure_future(here.bandit.Score(score_request(), timeout=10)) for _ in range(2)]
        await here.heard.until_begun(2)
        seen = await failure(here.bandit.Score(score_request()))
        assert (seen.code, seen.reason, seen.retry_after_s) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_IN_FLIGHT", 0.1)
        here.obstacles.open.set()
        await asyncio.gather(*calls)
        assert (await here.bandit.Score(score_request())).decision_id
        assert [code for _, _, code in here.heard.calls] == ["RESOURCE_EXHAUSTED", "OK", "OK", "OK"]
        assert here.heard.begun == 4


async def test_health_and_reflection_answer_when_calls_are_too_many() -> None:
    async with world(Limits(max_in_flight=0)) as here:
        stub: Any = health_pb2_grpc.HealthStub(here.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, here.channel))
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = [a async for a in reflection.ServerReflectionInfo(asked)]
        assert {*SERVICES, "grpc.health.v1.Health"} <= {s.name for s in answer.list_services_response.service}


async def test_health_is_told_per_service(here: World) -> None:
    assert SERVICES == ("ooml.bandit.v1.BanditService", "ooml.bandit.v1.PolicyService")
    for serving, status in ((True, "SERVING"), (False, "NOT_SERVING"), (True, "SERVING")):
        await here.server.publish_health(serving)
        assert await _health(here) == [status] * 3


async def test_a_draining_server_finishes_what_it_has_and_refuses_the_rest(here: World) -> None:
    await here.server.publish_health(True)
    here.obstacles.open.clear()
    call = asyncio.ensure_future(here.bandit.Score(score_request(), timeout=10))
    stream = here.bandit.ScoreStream()
    await stream.write(pb.ScoreStreamRequest(sequence=7, request=score_request()))
    await here.heard.until_begun(2)
    await here.server.drain()

    seen = await failure(here.bandit.Score(score_request()))
    assert (seen.code, seen.reason, seen.retry_after_s) == (StatusCode.UNAVAILABLE, "DRAINING", 0.1)
    assert (await failure(here.bandit.ScoreStream(iter([])).read())).reason == "DRAINING"
    assert await _health(here) == ["NOT_SERVING"] * 3
    here.obstacles.open.set()
    assert (await call).decision_id
    reply: Any = await stream.read()
    assert (reply.sequence, reply.HasField("response")) == (7, True)
    assert (await failure(stream.read())).reason == "DRAINING"


async def test_a_stopped_server_answers_what_it_has_and_does_not_wait_for_watchers_of_health(here: World) -> None:
    stub: Any = health_pb2_grpc.HealthStub(here.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    idle_stream = here.bandit.ScoreStream()
    await idle_stream.write(pb.ScoreStreamRequest(request=score_request()))
    await idle_stream.read()
    here.obstacles.open.clear()
    call = asyncio.ensure_future(here.bandit.Score(score_request(), timeout=10))
    await here.obstacles.until_waiting(1)
    stopping = asyncio.create_task(here.server.stop(grace_s=30))
    assert (await failure(idle_stream.read())).reason == "DRAINING"
    here.obstacles.open.set()
    assert (await call).decision_id
    await asyncio.wait_for(stopping, 5)
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await here.bandit.Score(score_request())


async def test_a_call_that_outlasts_the_grace_is_cut_off(here: World) -> None:
    here.obstacles.open.clear()
    call = asyncio.ensure_future(here.bandit.Score(score_request(), timeout=30))
    await here.obstacles.until_waiting(1)
    await asyncio.wait_for(here.server.stop(grace_s=0.1), 5)
    with pytest.raises(grpc.aio.AioRpcError, match=r"UNAVAILABLE|CANCELLED"):
        await call


async def test_a_message_above_the_limit_is_refused(here: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
        await here.bandit.Score(score_request(request_id="x" * (4 * 1024 * 1024)))


async def _health(here: World) -> list[str]:
    stub: Any = health_pb2_grpc.HealthStub(here.channel)
    answers = [await stub.Check(health_pb2.HealthCheckRequest(service=service)) for service in ("", *SERVICES)]
    return [health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers]


async def test_a_peer_that_vanished_without_a_word_is_let_go() -> None:
    async with world(keepalive_s=1.0, keepalive_timeout_s=0.5) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        no_settings = bytes.fromhex("000000040000000000")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_settings)
        async with asyncio.timeout(20):
            while await reader.read(1024):  # what it is asked is not answered
                pass
        writer.close()
