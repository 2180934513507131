"""Requests and replies on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from ooml.bandit.v1 import bandit_pb2 as pb
from structlog.testing import capture_logs

from serving.ports import Unavailable
from serving.transport.bandit_servicer import STREAM_WIDTH
from serving.transport.calls import Limits
from tests.transport.harness import World, failure, read_status, score_request, world

EOF: Any = grpc.aio.EOF


def item(sequence: int, **changes: Any) -> pb.ScoreStreamRequest:
    return pb.ScoreStreamRequest(sequence=sequence, request=score_request(**changes))


async def test_every_request_gets_its_reply_and_the_stream_ends_with_its_sender(here: World) -> None:
    async def requests() -> AsyncIterator[pb.ScoreStreamRequest]:
        for k in range(200):
            yield item(k, candidates=[pb.Candidate(id=f"c{k}")], entities={"user_id": f"u{k}"})

    call = here.bandit.ScoreStream(requests())
    replies = {reply.sequence: reply.response.candidate_id async for reply in call}
    assert replies == {k: f"c{k}" for k in range(200)}
    assert await call.code() == grpc.StatusCode.OK
    assert here.heard.calls == [("ScoreStream", "shop", "OK")] * 200


async def test_an_error_belongs_to_its_request_alone(here: World) -> None:
    call = here.bandit.ScoreStream(iter([item(1), item(2, policy="shoe"), item(3, candidates=[]), pb.ScoreStreamRequest(sequence=4)]))
    replies = {reply.sequence: reply async for reply in call}
    assert replies[1].HasField("response")
    assert {k: read_status(replies[k].error).reason for k in (2, 3, 4)} == {
        2: "UNKNOWN_POLICY",
        3: "INVALID_REQUEST",
        4: "INVALID_REQUEST",
    }
    assert sorted(here.heard.calls)[:2] == [("ScoreStream", "", "INVALID_ARGUMENT"), ("ScoreStream", "", "NOT_FOUND")]


async def test_replies_overtake_a_request_that_waits(here: World) -> None:
    call = here.bandit.ScoreStream()
    here.obstacles.open.clear()
    await call.write(item(1))
    await here.obstacles.until_waiting(1)
    await call.write(item(2, candidates=[]))
    assert (await _read(call)).sequence == 2
    here.obstacles.open.set()
    assert (await _read(call)).sequence == 1
    await call.done_writing()
    assert await call.read() is EOF


async def test_a_stream_works_on_a_few_requests_at_a_time(here: World) -> None:
    here.obstacles.open.clear()
    call = here.bandit.ScoreStream(iter([item(k) for k in range(2 * STREAM_WIDTH)]))
    await here.heard.until_begun(STREAM_WIDTH)
    here.obstacles.open.set()
    assert len([reply async for reply in call if reply.HasField("response")]) == 2 * STREAM_WIDTH
    assert here.heard.most_at_once == STREAM_WIDTH


async def test_a_request_whose_store_hangs_is_told_within_the_default_deadline_and_the_stream_lives() -> None:
    async with world(Limits(default_deadline_s=0.2)) as here:
        call = here.bandit.ScoreStream(timeout=60)
        here.obstacles.open.clear()
        await call.write(item(1))
        assert read_status((await _read(call)).error).reason == "STORE_UNAVAILABLE"
        here.obstacles.open.set()
        await call.write(item(2))
        assert (await _read(call)).HasField("response")
        await call.done_writing()
        assert await call.read() is EOF


async def test_a_broken_store_fails_requests_not_the_stream(here: World) -> None:
    here.obstacles.error = Unavailable("the store does not answer")
    call = here.bandit.ScoreStream(iter([item(1), item(2)]))
    assert [read_status(reply.error).retry_after_s async for reply in call] == [0.5, 0.5]
    assert await call.code() == grpc.StatusCode.OK


async def test_bytes_that_are_no_message_end_the_stream_after_the_replies_before_them(here: World) -> None:
    raw: Any = here.channel.stream_stream("/ooml.bandit.v1.BanditService/ScoreStream")
    call = raw(iter([item(1).SerializeToString(), b"\xff\xff"]))
    assert pb.ScoreStreamResponse.FromString(await call.read()).sequence == 1
    assert (await failure(call.read())).reason == "INVALID_REQUEST"


async def test_a_malformed_request_is_told_under_its_number_and_the_stream_goes_on(here: World) -> None:
    raw: Any = here.channel.stream_stream("/ooml.bandit.v1.BanditService/ScoreStream")
    malformed = [b"\x08\x02\x12\x01\n", b"\x08\x03\x12\x06\n\x01p\x22\x01\n", b"\x08\x04\x12\x01\n\x12\x02\x01p"]
    call = raw(iter([item(1).SerializeToString(), *malformed, item(5).SerializeToString()]))
    replies = {reply.sequence: reply for reply in [pb.ScoreStreamResponse.FromString(body) async for body in call]}
    assert sorted(replies) == [1, 2, 3, 4, 5]
    assert [replies[number].HasField("response") for number in (1, 5)] == [True, True]
    for number in (2, 3, 4):
        assert read_status(replies[number].error).reason == "INVALID_REQUEST"
        assert replies[number].error.message == "the request is not a message of this method's type"
    assert await call.code() == grpc.StatusCode.OK


async def test_a_caller_who_leaves_takes_the_stream_along(here: World) -> None:
    call = here.bandit.ScoreStream()
    here.obstacles.open.clear()
    for k in range(3):
        await call.write(item(k))
    await here.heard.until_begun(3)
    call.cancel()
    await here.heard.until_ended(3)
    await here.obstacles.until_waiting(0)
    assert sorted(here.heard.calls) == [("ScoreStream", "shop", "CANCELLED")] * 3
    with pytest.raises(asyncio.CancelledError):
        await call.read()


async def test_requests_beyond_what_the_server_handles_are_refused_one_by_one() -> None:
    async with world(Limits(max_in_flight=1)) as here:
        here.obstacles.open.clear()
        call = here.bandit.ScoreStream()
        await call.write(item(1))
        await here.obstacles.until_waiting(1)
        await call.write(item(2))
        refused = await _read(call)
        assert (refused.sequence, read_status(refused.error).reason) == (2, "TOO_MANY_IN_FLIGHT")
        here.obstacles.open.set()
        assert (await _read(call)).HasField("response")
        await call.done_writing()
        assert await call.read() is EOF


async def _read(call: Any) -> pb.ScoreStreamResponse:
    reply = await call.read()
    assert isinstance(reply, pb.ScoreStreamResponse)
    return reply


async def test_a_caller_who_leaves_while_replies_are_written_is_no_mistake_of_ours(here: World) -> None:
    """What gRPC says then has no name of its own: the log must not take it for an error of the server's."""
    with capture_logs() as lines:
        for _ in range(30):
            call = here.bandit.ScoreStream()
            for k in range(STREAM_WIDTH):
                await call.write(item(k))
            await _read(call)
            call.cancel()
        await here.decide()
    assert [line for line in lines if line["log_level"] == "error"] == []
