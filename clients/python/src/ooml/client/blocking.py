"""The blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import grpc
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1.bandit_pb2_grpc import BanditServiceStub
from ooml.bandit.v1.policy_pb2_grpc import PolicyServiceStub
from ooml.client import request_ids
from ooml.client.options import Metadata, Options

Q = TypeVar("Q")
R = TypeVar("R")


class Replies(Protocol):
    """A stream's, as they come."""

    def __iter__(self) -> Iterator[pb.ScoreStreamResponse]:
        """They may overtake each other; `sequence` says which is whose."""
        ...

    def cancel(self) -> bool:
        """End the stream; whether it had not ended yet."""
        ...


class Unary(Generic[Q, R]):
    """One method: call it with a request, or take a `future` of the answer, which can be cancelled."""

    def __init__(self, next_stub: Callable[[], grpc.UnaryUnaryMultiCallable[Q, R]], options: Options, prepare: Callable[[Q], Q]) -> None:
        self._next_stub = next_stub
        self._options = options
        self._prepare = prepare

    def __call__(self, request: Q, *, deadline_s: float | None = None, metadata: Metadata = ()) -> R:
        """The answer.

        Raises:
            grpc.RpcError: `failure_of` says why.
        """
        options = self._options
        return self._next_stub()(self._prepare(request), timeout=options.deadline(deadline_s), metadata=options.metadata(metadata))

    def future(self, request: Q, *, deadline_s: float | None = None, metadata: Metadata = ()) -> grpc.Future[R]:
        """The answer to come."""
        options = self._options
        return self._next_stub().future(self._prepare(request), timeout=options.deadline(deadline_s), metadata=options.metadata(metadata))


class Client:
    """Calls ooml, from any number of threads. Close it, or use it in a ``with`` block.

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
        self.score = Unary(lambda: next(bandit).Score, options, request_ids.score)
        self.reward = Unary(lambda: next(bandit).Reward, options, _as_it_is)
        self.activate = Unary(lambda: next(bandit).Activate, options, _as_it_is)
        self.batch_score = Unary(lambda: next(bandit).BatchScore, options, request_ids.batch)
        self.batch_reward = Unary(lambda: next(bandit).BatchReward, options, _as_it_is)
        self.list_policies = Unary(lambda: next(policy).ListPolicies, options, _as_it_is)
        self.get_policy = Unary(lambda: next(policy).GetPolicy, options, _as_it_is)
        self.get_evidence = Unary(lambda: next(policy).GetEvidence, options, _as_it_is)
        self.forget_scope = Unary(lambda: next(policy).ForgetScope, options, _as_it_is)

    def score_stream(
        self, requests: Iterable[pb.ScoreStreamRequest], *, deadline_s: float | None = None, metadata: Metadata = ()
    ) -> Replies:
        """Send requests as they are taken from an iterable, in a thread, and take the replies."""
        named = map(request_ids.streamed, requests)
        return next(self._bandit).ScoreStream(named, timeout=deadline_s, metadata=self._options.metadata(metadata))

    def close(self) -> None:
        """Give up the connections; calls in flight are cancelled."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _channel(target: str, options: Options) -> grpc.Channel:
    arguments = options.arguments(target)
    if options.tls is None:
        return grpc.insecure_channel(target, arguments)
    return grpc.secure_channel(target, options.tls.credentials(), arguments)


def _as_it_is(request: Q) -> Q:
    return request
