"""The client under load, of a log: some of its decisions are deferred and activated, and some of its people are forgotten."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc

from tests.faults.client import RECONNECT, Client
from tests.faults.record import Decision, Scope

_BEFORE, _AFTER = 2, 1
"""Decisions of a person before they are forgotten, and after."""


@dataclass
class LoggedClient(Client):
    """A client that defers some decisions, and forgets people, one after another.

    Once an answer was kept for a decision it is active.
    """

    pause_s: float = 0.0
    """How long a caller waits between a decision and the next."""
    forgotten: list[Scope] = field(default_factory=list)
    """Of those who were, what they were asked before."""

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """See `Client`."""
        async with super().load():
            forgetting = asyncio.create_task(self._forget_people())
            yield
            self._over = True
            await forgetting

    async def _play(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> None:
        await super()._play(stub, decision)
        await asyncio.sleep(self.pause_s)

    async def _score(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, decision: Decision) -> bool:
        # By its number, which is in its request_id: the same whenever it is asked.
        decision.request.deferred = decision.request.request_id.endswith(("2", "5", "8"))
        made = await self._answer(stub.Score(decision.request, timeout=self._patience_s(), wait_for_ready=True))
        if made is None:
            return False
        if decision.request.deferred:
            activate = pb.ActivateRequest(decision_id=made.decision_id)
            if await self._answer(stub.Activate(activate, timeout=self._patience_s(), wait_for_ready=True)) is None:
                return False
        decision.answer = made
        return True

    async def _forget_people(self) -> None:
        """Each person's calls are answered, then the person is forgotten, then asked about again."""
        async with grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1), *RECONNECT]) as channel:
            stub, policies = bandit_pb2_grpc.BanditServiceStub(channel), policy_pb2_grpc.PolicyServiceStub(channel)
            for number in itertools.count():
                if self._over:
                    return
                before, after = (Scope("sum", f"{self.name}-gone{number}") for _ in range(2))
                await self._live(stub, before, _BEFORE)
                asked = policy_pb2.ForgetScopeRequest(policy=before.policy, scope=before.name)
                while await self._answer(policies.ForgetScope(asked, timeout=2.0, wait_for_ready=True)) is None:
                    pass
                self.forgotten.append(before)
                self.scopes.append(after)
                await self._live(stub, after, _AFTER)
                await asyncio.sleep(self.pause_s)

    async def _live(self, stub: bandit_pb2_grpc.BanditServiceAsyncStub, scope: Scope, decisions: int) -> None:
        """Decisions and their rewards, each asked until it is answered."""
        for _ in range(decisions):
            decision = scope.draw(self.rng)
            while not await self._score(stub, decision):
                pass
            for reward in decision.rewards:
                while not await self._reward(stub, decision, reward):
                    pass
