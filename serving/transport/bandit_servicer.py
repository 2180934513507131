"""BanditService over gRPC: parse, call one use case, render."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from serving.ports import RewardOutcome, Told
from serving.service import commands
from serving.service.bandit import BanditService
from serving.service.slate import Asked
from serving.transport import encode, parse, render
from serving.transport.admission import CALLER, Admission, forbidden
from serving.transport.calls import Calls
from serving.transport.gather import Gatherer
from serving.transport.replies import PeerGone, Replies
from serving.transport.status import without_frames

Context = grpc.aio.ServicerContext[Any, Any]

MOST_CANDIDATES, MOST_REWARDS = 2_000, 128
"""In one group, about: more would save little, hold up the first, and keep the event loop from all else."""
BATCH_WIDTH = 16
"""Rewards of one batch worked on at once."""
STREAM_WIDTH = 32
"""Requests of one stream worked on at once; more wait with their sender."""
SCORE_STREAM = f"/{pb.DESCRIPTOR.services_by_name['BanditService'].full_name}/ScoreStream"
BATCH_WORK = 0.8
"""Part of a batch's time that its requests may take, so that those answered are told of when others hang."""

_RESULT = encode.field(pb.BatchScoreResponse, "results")
_RESPONSE = encode.field(pb.ScoreResult, "response")
_STREAMED = encode.field(pb.ScoreStreamResponse, "response")

R = TypeVar("R")
S = TypeVar("S")


class BanditServicer(bandit_pb2_grpc.BanditServiceServicer):
    """Handlers of BanditService; the entrance stands before them."""

    def __init__(self, service: BanditService, calls: Calls, admission: Admission) -> None:
        self._service = service
        self._calls = calls
        self._admission = admission
        self._scores = Gatherer(self._prepare, self._decide, MOST_CANDIDATES, lambda asked: len(asked.request.ids))
        self._rewards: Gatherer[Told, Told, RewardOutcome] = Gatherer(list, service.reward, MOST_REWARDS)

    def Score(self, request: parse.Sent, context: Context) -> Awaitable[bytes]:  # type: ignore[override]  # noqa: N802
        """Choose one candidate."""
        return self._scores.ask(request)

    async def Reward(self, request: pb.RewardRequest, context: Context) -> pb.RewardResponse:  # noqa: N802
        """Count a reward."""
        return await self._reward(request)

    async def Activate(self, request: pb.ActivateRequest, context: Context) -> pb.ActivateResponse:  # noqa: N802
        """Open a deferred decision's window."""
        deadline = await self._service.activate(request.decision_id, CALLER.get())
        return pb.ActivateResponse(reward_deadline=render.timestamp(deadline))

    async def BatchScore(self, request: Any, context: Context) -> bytes:  # type: ignore[override]  # noqa: N802
        """Score several requests, each on its own; they come as bytes."""
        parse.check_batch(len(request.requests))
        answers = await self._scored("BatchScore", request.requests, context)
        results = [pb.ScoreResult(error=a).SerializeToString() if isinstance(a, Status) else _RESPONSE(a) for a in answers]
        return b"".join(map(_RESULT, results))

    async def BatchReward(self, request: pb.BatchRewardRequest, context: Context) -> pb.BatchRewardResponse:  # noqa: N802
        """Count several rewards, each on its own."""
        parse.check_batch(len(request.requests))
        answers = await self._each("BatchReward", request.requests, self._reward, context)
        return pb.BatchRewardResponse(
            results=[pb.RewardResult(error=a) if isinstance(a, Status) else pb.RewardResult(response=a) for a in answers]
        )

    async def ScoreStream(  # type: ignore[override]  # noqa: N802  # gRPC also takes handlers that write
        self, requests: AsyncIterator[parse.Streamed | DecodeError], context: Context
    ) -> None:
        """Score requests as they come, until their sender is done or the server drains."""
        replies = Replies(context.write, STREAM_WIDTH)
        malformed: DecodeError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(replies.write())
                async with self._calls.until_drained():
                    async for item in requests:
                        if isinstance(item, DecodeError):
                            malformed = item
                            break
                        await replies.take_place()
                        self._score_one(item, replies, context)
                replies.complete()
        except* PeerGone:
            malformed = None
        finally:
            replies.abandon()
            self._scores.left()
        if malformed is not None:
            raise malformed
        self._calls.check_draining()

    def _score_one(self, item: parse.Streamed, replies: Replies, context: Context) -> None:
        """Begin with one request of a stream, and put its reply among the others once it is known."""
        remaining_s = context.time_remaining()
        sequence, request = item
        allotted_s = self._calls.allotted_s(None)

        def score() -> asyncio.Future[bytes]:
            # As if it were a call of its own: whoever may no longer call, or too often, hears of it on an open stream too.
            answer: asyncio.Future[bytes]
            try:
                if isinstance(request, DecodeError):
                    self._admission.admit(SCORE_STREAM, context)
                    raise request
                answer = asyncio.ensure_future(self._admission.begin(SCORE_STREAM, context, request, partial(self._scores.put, request)))
            except Exception as error:
                answer = _failed(error)
            replies.owe(answer)
            return answer

        def reply(answer: bytes | Status | None) -> None:
            if isinstance(answer, bytes):
                replies.put(pb.ScoreStreamResponse(sequence=sequence).SerializeToString() + _STREAMED(answer))
            elif answer is not None:
                replies.put(pb.ScoreStreamResponse(sequence=sequence, error=answer).SerializeToString())
                self._scores.left()

        within_s = allotted_s if remaining_s is None else min(allotted_s, remaining_s)
        self._calls.follow("ScoreStream", getattr(request, "policy", ""), within_s, score, reply)

    def _prepare(self, requests: Sequence[parse.Sent]) -> list[Asked | Exception]:
        return [asked if isinstance(asked, Exception) else self._prepared(asked) for asked in parse.scores(requests)]

    def _prepared(self, asked: commands.Score) -> Asked | Exception:
        try:
            return self._service.prepare(asked)
        except Exception as error:
            return error

    async def _decide(self, group: Sequence[Asked]) -> list[bytes | Exception]:
        answers = await self._service.decide(group)
        scored = [answer for answer in answers if not isinstance(answer, Exception)]
        for one in scored:
            if not one.recorded.replayed:
                self._calls.decided(one.recorded.decision.policy)
        explain = [asked.request.explain for asked, answer in zip(group, answers, strict=True) if not isinstance(answer, Exception)]
        responses = iter(render.score_responses(scored, explain))
        return [answer if isinstance(answer, Exception) else next(responses) for answer in answers]

    async def _reward(self, request: pb.RewardRequest) -> pb.RewardResponse:
        told = await self._service.prepare_reward(parse.reward(request), CALLER.get())
        return render.reward_response(await self._rewards.ask(told))

    async def _scored(self, method: str, requests: Iterable[bytes], context: Context) -> list[bytes | Status]:
        """What each request of a batch gets, in order."""
        caller = CALLER.get()

        def put(body: bytes) -> asyncio.Future[bytes]:
            try:
                request = parse.sent(body)
            except DecodeError as error:
                return _failed(error)
            return self._scores.put(request) if caller.allows(request.policy) else _failed(forbidden(request.policy))

        answers = list(map(put, requests))
        try:
            async with asyncio.timeout(BATCH_WORK * self._calls.allotted_s(context.time_remaining())):
                for answer in answers:
                    if not answer.done():
                        await asyncio.wait((answer,))
        except TimeoutError:
            pass  # those who have no answer by now are told so
        finally:
            for answer in answers:
                answer.cancel()
            self._scores.left()
        return [self._calls.outcome(method, answer) for answer in answers]

    async def _each(self, method: str, requests: Iterable[R], work: Callable[[R], Awaitable[S]], context: Context) -> list[S | Status]:
        """What each request of a batch gets, in order; a few are worked on at a time."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + BATCH_WORK * self._calls.allotted_s(context.time_remaining())
        places = asyncio.Semaphore(BATCH_WIDTH)

        async def one(request: R) -> S | Status:
            async with places:
                return await self._calls.attempt(method, deadline - clock(), lambda: work(request))

        return await asyncio.gather(*(one(request) for request in requests))


def _failed(error: Exception) -> asyncio.Future[Any]:
    """An answer that is an error from the first."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    answer.set_exception(without_frames(error))
    answer.exception()  # seen, even if the batch is given up before it is told of
    return answer
