"""A client under load: it writes down what it asked and what it was told, and asks again what nobody answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import grpc
import numpy as np
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from tests.faults.record import POLICIES, Decision, Reward, Scope

T = TypeVar("T")

OPEN_SCOPES = 6
"""So few that callers meet in them."""
ASKING = 16
"""Connections over which the rest is asked once the load is over."""
UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""All that a fault may make of a call. They say the same: perhaps it took effect."""
PAUSE_S = 0.25
"""What a caller waits after a call nobody answered: without a store a server refuses faster than it serves."""
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


@dataclass
class Client:
    """Calls a server and keeps the record.

    Args:
        address: of the server.
        name: its people's names begin with it.
        rng: draws what is asked, and how long and how often it is tried.
        callers: how many call at once under load.
        patience_s: how long a call may wait for its answer: one of these.
    """

    address: str
    name: str
    rng: np.random.Generator
    callers: int
    patience_s: Sequence[float]
    scopes: list[Scope] = field(default_factory=list)
    unanswered: int = 0
    applied_after_s: list[float] = field(default_factory=list)
    """How long each reward that was applied took to be acknowledged."""
    _over: bool = False

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Callers at work for as long as the block runs, each on a connection of its own, all of them over all workers."""
        names = (Scope(policy, f"{self.name}-{n}") for n in itertools.count() for policy in POLICIES)
        open_scopes = list(itertools.islice(names, OPEN_SCOPES))
        self.scopes += open_scopes

        def draw() -> Decision:
            k = int(self.rng.integers(OPEN_SCOPES))
            decision = open_scopes[k].draw(self.rng)
            if open_scopes[k].full:
                open_scopes[k] = next(names)
                self.scopes.append(open_scopes[k])
            return decision

        async def caller() -> None:
            async with self.connection() as stub:
                while not self._over:
                    await self._play(stub, draw())

        async with asyncio.TaskGroup() as callers:
            for _ in range(self.callers):
                callers.create_task(caller())
            yield
            self._over = True

    async def settle(self) -> None:
        """Ask again what nobody answered, until each call is answered."""

        async def settle(stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> None:
            while decision.answer is None:
                await self._score(stub, decision)
            for reward in decision.rewards:
                while reward.answer is None:
                    await self._reward(stub, decision, reward)

        await self._each_decision(settle)

    async def repeat(self) -> None:
        """Ask everything once more: every decision is the one made before, every reward a duplicate."""

        async def repeat(stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> None:
            assert await stub.Score(decision.request, timeout=10.0) == decision.answer
            for reward in decision.rewards:
                answer = await stub.Reward(_reward_request(decision, reward), timeout=10.0)
                assert answer.status == pb.REWARD_STATUS_DUPLICATE

        await self._each_decision(repeat)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[bandit_pb2_grpc.BanditServiceAsyncStub]:
        """Its own, and so perhaps to another worker."""
        async with grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1), *RECONNECT]) as channel:
            yield bandit_pb2_grpc.BanditServiceStub(channel)

    async def _each_decision(self, act: Callable[[bandit_pb2_grpc.BanditServiceAsyncStub, Decision], Awaitable[None]]) -> None:
        waiting = iter([decision for scope in self.scopes for decision in scope.decisions])
        async with AsyncExitStack() as connections, asyncio.timeout(60), asyncio.TaskGroup() as callers:

            async def caller(stub: bandit_pb2_grpc.BanditServiceAsyncStub) -> None:
                for decision in waiting:
                    await act(stub, decision)

            for _ in range(ASKING):
                callers.create_task(caller(await connections.enter_async_context(self.connection())))

    async def _play(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> None:
        """One decision and its rewards; what is not answered is left for later."""
        if await self._try(partial(self._score, stub, decision)):
            for reward in decision.rewards:
                await self._try(partial(self._reward, stub, decision, reward))

    async def _try(self, ask: Callable[[], Awaitable[bool]]) -> bool:
        """Ask once or twice while there is load; whether there was an answer."""
        for _ in range(int(self.rng.integers(1, 3))):
            if self._over or await ask():
                return not self._over
        return False

    async def _score(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> bool:
        decision.answer = await self._answer(stub.Score(decision.request, timeout=self._patience_s(), wait_for_ready=True))
        return decision.answer is not None

    async def _reward(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision, reward: Reward) -> bool:
        began = time.monotonic()
        request = _reward_request(decision, reward)
        reward.answer = await self._answer(stub.Reward(request, timeout=self._patience_s(), wait_for_ready=True))
        if reward.answer is None:
            return False
        assert reward.answer.status in (pb.REWARD_STATUS_APPLIED, pb.REWARD_STATUS_DUPLICATE)
        if reward.answer.status == pb.REWARD_STATUS_APPLIED:
            self.applied_after_s.append(time.monotonic() - began)
        return True

    async def _answer(self, call: Awaitable[T]) -> T | None:
        """A call's answer, None when there was none."""
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.code() not in UNANSWERED:
                raise
            self.unanswered += 1
            await asyncio.sleep(PAUSE_S)
            return None

    def _patience_s(self) -> float:
        return float(self.rng.choice(self.patience_s))


def _reward_request(decision: Decision, reward: Reward) -> pb.RewardRequest:
    assert decision.answer is not None
    return pb.RewardRequest(decision_id=decision.answer.decision_id, value=reward.value, reward_id=reward.reward_id)
