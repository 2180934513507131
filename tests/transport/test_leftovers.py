"""Nothing that is large is left behind by calls that end badly: requests may be of megabytes, and cycles are seldom looked for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ooml.bandit.v1 import bandit_pb2 as pb

import serving
from serving.ports import Unavailable
from serving.service.commands import Score
from serving.transport.parse import Sent, Streamed
from serving.transport.replies import Replies
from tests.transport.harness import REFLECTION, UNKNOWN_ID, World, score_request, world

SCORE, BATCH, STREAM = (f"/ooml.bandit.v1.BanditService/{name}" for name in ("Score", "BatchScore", "ScoreStream"))
MALFORMED = b"\xff\xff"
CALLS = 70
"""More than are asked for beforehand of a method, so that calls come in by both ways."""
SERVING = str(Path(serving.__file__).parent)
REQUESTS = (Score, Sent, Streamed, Replies, pb.RewardRequest, health_pb2.HealthCheckRequest)


def malformed(here: World, path: str) -> Any:
    if path == SCORE:
        return here.channel.unary_unary(path)(MALFORMED)  # type: ignore[arg-type]
    return here.channel.stream_stream(path)(iter([MALFORMED])).read()  # type: ignore[arg-type]


async def in_a_stream(here: World) -> None:
    stream = here.bandit.ScoreStream()
    for sequence in range(3):
        await stream.write(pb.ScoreStreamRequest(sequence=sequence, request=score_request(candidates=[])))
    await stream.done_writing()
    assert [reply.WhichOneof("result") async for reply in stream] == ["error"] * 3


async def in_a_batch(here: World) -> None:
    batch = pb.BatchScoreRequest(requests=[score_request(candidates=[]), score_request(policy="none")]).SerializeToString()
    batch += pb.BatchScoreRequest(requests=[pb.ScoreRequest()]).SerializeToString()[:1] + b"\x02" + MALFORMED
    answer: Any = await here.channel.unary_unary(BATCH)(batch)  # type: ignore[arg-type]
    assert len(pb.BatchScoreResponse.FromString(answer).results) == 3


async def when_the_store_fails(here: World) -> None:
    here.obstacles.error = Unavailable("down")
    try:
        await here.bandit.Score(score_request())
    finally:
        here.obstacles.error = None


async def gone(here: World) -> None:
    here.obstacles.open.clear()
    call = here.bandit.Score(score_request())
    await here.obstacles.until_waiting(1)
    call.cancel()
    await here.obstacles.until_waiting(0)
    here.obstacles.open.set()


async def stream_gone(here: World) -> None:
    stream = here.bandit.ScoreStream()
    await stream.write(pb.ScoreStreamRequest(request=score_request()))
    await stream.read()
    stream.cancel()


async def stream_late(here: World) -> None:
    stream = here.bandit.ScoreStream(timeout=0.05)
    await stream.write(pb.ScoreStreamRequest(request=score_request()))
    async for _ in stream:
        pass


async def late(here: World) -> None:
    if not here.heard.begun:  # all at once, for they wait
        here.obstacles.open.clear()
        await asyncio.gather(*(here.bandit.Score(score_request(), timeout=1.0) for _ in range(CALLS)), return_exceptions=True)
        here.obstacles.open.set()
        await here.heard.until_ended(here.heard.begun)


ENDS: dict[str, Callable[[World], Awaitable[Any]]] = {
    "invalid": lambda here: here.bandit.Score(score_request(candidates=[])),
    "unknown policy": lambda here: here.bandit.Score(score_request(policy="none")),
    "refused by the policy": lambda here: here.bandit.Score(score_request(policy="strict", context={})),
    "malformed": lambda here: malformed(here, SCORE),
    "malformed, in a stream": lambda here: malformed(here, STREAM),
    "malformed, of a guest": lambda here: malformed(here, REFLECTION),
    "requests of a stream": in_a_stream,
    "requests of a batch": in_a_batch,
    "a batch": lambda here: here.bandit.BatchScore(pb.BatchScoreRequest()),
    "a reward": lambda here: here.bandit.Reward(pb.RewardRequest(decision_id="x")),
    "a reward of no decision": lambda here: here.bandit.Reward(pb.RewardRequest(decision_id=UNKNOWN_ID, value=1.0)),
    "rewards of a batch": lambda here: here.bandit.BatchReward(pb.BatchRewardRequest(requests=[pb.RewardRequest(decision_id="x")])),
    "the store fails": when_the_store_fails,
    "late": late,
    "its caller leaves": gone,
    "a stream's caller leaves": stream_gone,
    "a stream's time is over": stream_late,
    "health of what there is not": lambda here: health_pb2_grpc.HealthStub(here.channel).Check(health_pb2.HealthCheckRequest(service="x")),
}


@pytest.mark.parametrize("kind", ENDS)
async def test_of_a_call_that_ended_badly_nothing_waits_for_the_garbage_collector(kind: str) -> None:
    async with world() as here:
        gc.collect()
        gc.disable()
        before = holding_requests()
        try:
            for _ in range(CALLS):
                with suppress(grpc.aio.AioRpcError):
                    await ENDS[kind](here)
            async with asyncio.timeout(5):
                while holding_requests() - before:  # noqa: ASYNC110  the last are about to end, and nothing tells of it
                    await asyncio.sleep(0)
        finally:
            gc.enable()


def holding_requests() -> set[int]:
    """Ids of all objects that are, or may hold, a request."""
    found = gc.get_objects()
    tracebacks = (one for one in found if type(one) is TracebackType)
    ours = {id(one) for one in tracebacks if SERVING in one.tb_frame.f_code.co_filename}
    return ours | {id(one) for one in found if issubclass(type(one), REQUESTS)}
