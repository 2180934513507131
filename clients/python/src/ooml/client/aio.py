"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from itertools import cycle
from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceStub
from ooml.bandit.v1.policy_pb2_grpc import PolicyServiceStub
from ooml.client import request_ids
from ooml.client.options import Metadata, Options

Q = TypeVar("Q")
R = TypeVar("R")


class AsyncUnary(Generic[Q, R]):
    """One method: call it with a request, and await what it returns, which can be cancelled."""

    def __init__(
        self, next_stub: Callable[[], grpc.aio.UnaryUnaryMultiCallable[Q, R]], options: Options, prepare: Callable[[Q], Q]
    ) -> None:
        self._next_stub = next_stub
        self._options = options
        self._prepare = prepare

    def __call__(self, request: Q, *, deadline_s: float | None = None, metadata: Metadata = ()) -> grpc.aio.UnaryUnaryCall[Q, R]:
        """The call; awaiting it gives the answer, or raises grpc.aio.AioRpcError: `failure_of` says why."""
        options = self._options
        return self._next_stub()(self._prepare(request), timeout=options.deadline(deadline_s), metadata=options.metadata(metadata))


class AsyncClient:
    """Calls ooml, from one event loop. Close it, or use it in an ``async with`` block.

    Args:
        target: ``host:port``, or what else gRPC takes.

    Raises:
        ValueError: the options do not fit the target.
    """

    def __init__(self, target: str, options: Options | None = None) -> None:
        self._options = options = options or Options()
        options.check(target)
        self._channels = [_channel(target, options) for _ in range(options.channels)]
        self._bandit = bandit = cycle([BanditServiceStub(channel) for channel in self._channels])
        policy = cycle([PolicyServiceStub(channel) for channel in self._channels])
        self.score = AsyncUnary(lambda: next(bandit).Score, options, request_ids.score)
        self.reward = AsyncUnary(lambda: next(bandit).Reward, options, _as_it_is)
        self.activate = AsyncUnary(lambda: next(bandit).Activate, options, _as_it_is)
        self.batch_score = AsyncUnary(lambda: next(bandit).BatchScore, options, request_ids.batch)
        self.batch_reward = AsyncUnary(lambda: next(bandit).BatchReward, options, _as_it_is)
        self.list_policies = AsyncUnary(lambda: next(policy).ListPolicies, options, _as_it_is)
        self.get_policy = AsyncUnary(lambda: next(policy).GetPolicy, options, _as_it_is)
        self.get_evidence = AsyncUnary(lambda: next(policy).GetEvidence, options, _as_it_is)
        self.forget_scope = AsyncUnary(lambda: next(policy).ForgetScope, options, _as_it_is)

    def score_stream(
        self,
        requests: Iterable[pb.ScoreStreamRequest] | AsyncIterable[pb.ScoreStreamRequest],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> grpc.aio.StreamStreamCall[pb.ScoreStreamRequest, pb.ScoreStreamResponse]:
        """Replies as they come; they may overtake each other. ``cancel()`` ends the stream."""
        return next(self._bandit).ScoreStream(_named(requests), timeout=deadline_s, metadata=self._options.metadata(metadata))

    async def close(self) -> None:
        """Give up the connections; calls in flight are cancelled."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


async def _named(
    requests: Iterable[pb.ScoreStreamRequest] | AsyncIterable[pb.ScoreStreamRequest],
) -> AsyncIterator[pb.ScoreStreamRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request_ids.streamed(request)
    else:
        for request in requests:
            yield request_ids.streamed(request)


def _channel(target: str, options: Options) -> grpc.aio.Channel:
    arguments = options.arguments(target)
    if options.tls is None:
        return grpc.aio.insecure_channel(target, arguments)
    return grpc.aio.secure_channel(target, options.tls.credentials(), arguments)


def _as_it_is(request: Q) -> Q:
    return request
