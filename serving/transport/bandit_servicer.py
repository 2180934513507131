"""BanditService over gRPC: parse, call one use case, render."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from serving.service.bandit import BanditService
from serving.transport import parse, render
from serving.transport.calls import Calls

Context = grpc.aio.ServicerContext[Any, Any]

BATCH_WIDTH = 16
"""Requests of one batch worked on at once."""
STREAM_WIDTH = 32
"""Requests of one stream worked on at once; more wait with their sender."""
BATCH_WORK = 0.8
"""Part of a batch's time that its requests may take, so that those answered are told of when others hang."""

R = TypeVar("R")
S = TypeVar("S")


class BanditServicer(bandit_pb2_grpc.BanditServiceServicer):
    """Handlers of BanditService; the entrance stands before them."""

    def __init__(self, service: BanditService, calls: Calls) -> None:
        self._service = service
        self._calls = calls

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        """Choose one candidate."""
        return await self._score(request)

    async def Reward(self, request: pb.RewardRequest, context: Context) -> pb.RewardResponse:  # noqa: N802
        """Count a reward."""
        return await self._reward(request)

    async def Activate(self, request: pb.ActivateRequest, context: Context) -> pb.ActivateResponse:  # noqa: N802
        """Open a deferred decision's window."""
        return pb.ActivateResponse(reward_deadline=render.timestamp(await self._service.activate(request.decision_id)))

    async def BatchScore(self, request: pb.BatchScoreRequest, context: Context) -> pb.BatchScoreResponse:  # noqa: N802
        """Score several requests, each on its own."""
        parse.check_batch(len(request.requests))
        answers = await self._each("BatchScore", request.requests, self._score, context)
        return pb.BatchScoreResponse(
            results=[pb.ScoreResult(error=a) if isinstance(a, Status) else pb.ScoreResult(response=a) for a in answers]
        )

    async def BatchReward(self, request: pb.BatchRewardRequest, context: Context) -> pb.BatchRewardResponse:  # noqa: N802
        """Count several rewards, each on its own."""
        parse.check_batch(len(request.requests))
        answers = await self._each("BatchReward", request.requests, self._reward, context)
        return pb.BatchRewardResponse(
            results=[pb.RewardResult(error=a) if isinstance(a, Status) else pb.RewardResult(response=a) for a in answers]
        )

    async def ScoreStream(  # type: ignore[override]  # noqa: N802  # gRPC also takes handlers that write
        self, requests: AsyncIterator[pb.ScoreStreamRequest], context: Context
    ) -> None:
        """Score requests as they come, until their sender is done or the server drains."""
        places = asyncio.Semaphore(STREAM_WIDTH)
        one_at_a_time = asyncio.Lock()
        malformed: DecodeError | None = None

        async def reply(item: pb.ScoreStreamRequest) -> None:
            try:
                response = await self._stream_response(item, context)
                async with one_at_a_time:
                    await context.write(response)
            finally:
                places.release()

        async with asyncio.TaskGroup() as replies, self._calls.until_drained():
            async for item in requests:
                if isinstance(item, DecodeError):
                    malformed = item
                    break
                await places.acquire()
                replies.create_task(reply(item))
        if malformed is not None:
            raise malformed
        self._calls.check_draining()

    async def _stream_response(self, item: pb.ScoreStreamRequest, context: Context) -> pb.ScoreStreamResponse:
        remaining_s = context.time_remaining()
        allotted_s = self._calls.allotted_s(None)
        answer = await self._calls.answer(
            "ScoreStream",
            item.request.policy,
            allotted_s if remaining_s is None else min(allotted_s, remaining_s),
            lambda: self._score(item.request),
        )
        if isinstance(answer, Status):
            return pb.ScoreStreamResponse(sequence=item.sequence, error=answer)
        return pb.ScoreStreamResponse(sequence=item.sequence, response=answer)

    async def _score(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        command = parse.score(request)
        scored = await self._service.score(command)
        if not scored.recorded.replayed:
            self._calls.decided(scored.recorded.decision.policy)
        return render.score_response(scored, explain=command.explain)

    async def _reward(self, request: pb.RewardRequest) -> pb.RewardResponse:
        return render.reward_response(await self._service.reward(parse.reward(request)))

    async def _each(self, method: str, requests: Iterable[R], work: Callable[[R], Awaitable[S]], context: Context) -> list[S | Status]:
        """What each request of a batch gets, in order; a few are worked on at a time."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + BATCH_WORK * self._calls.allotted_s(context.time_remaining())
        places = asyncio.Semaphore(BATCH_WIDTH)

        async def one(request: R) -> S | Status:
            async with places:
                return await self._calls.attempt(method, deadline - clock(), lambda: work(request))

        return await asyncio.gather(*(one(request) for request in requests))
