"""Nothing of a call that was refused is left behind: a request may be of megabytes, and nobody looks for cycles while calls are few."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from ooml.bandit.v1 import bandit_pb2 as pb

from serving.ports import Unavailable, UnknownDecision
from serving.service.commands import Score
from serving.service.errors import InvalidRequest
from serving.transport.parse import Sent
from tests.transport.harness import World, score_request, world

SCORE, BATCH, STREAM = (f"/ooml.bandit.v1.BanditService/{name}" for name in ("Score", "BatchScore", "ScoreStream"))
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NO_DECISION = "00" + "0123456789ab" + "0" * 24
MALFORMED = b"\xff\xff"
CALLS = 70
"""More than are asked for beforehand of a method, so that calls come in by both ways."""
OURS = (Score, Sent, pb.RewardRequest, InvalidRequest, DecodeError, Unavailable, UnknownDecision, TimeoutError, grpc.aio.AbortError)


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


async def late(here: World) -> None:
    if not here.heard.begun:  # all at once, for they wait
        here.obstacles.open.clear()
        await asyncio.gather(*(here.bandit.Score(score_request(), timeout=0.2) for _ in range(CALLS)), return_exceptions=True)
        here.obstacles.open.set()
        await here.heard.until_ended(CALLS)


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
    "a reward of no decision": lambda here: here.bandit.Reward(pb.RewardRequest(decision_id=NO_DECISION, value=1.0)),
    "rewards of a batch": lambda here: here.bandit.BatchReward(pb.BatchRewardRequest(requests=[pb.RewardRequest(decision_id="x")])),
    "the store fails": when_the_store_fails,
    "late": late,
}


@pytest.mark.parametrize("kind", ENDS)
async def test_of_a_call_that_ended_badly_nothing_waits_for_the_garbage_collector(kind: str) -> None:
    async with world() as here:
        gc.collect()
        gc.disable()
        try:
            for _ in range(CALLS):
                with suppress(grpc.aio.AioRpcError):
                    await ENDS[kind](here)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            assert [found for found in gc.garbage if isinstance(found, OURS)] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
