"""A server, its store and their data, to be broken in every way and mended as operators would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import redis
from ooml.bandit.v1 import policy_pb2, policy_pb2_grpc

from cli.embedded import EmbeddedServer
from policies.types import ArmId, Evidence, Namespace, PolicyName, ScopeId
from serving.ids import shard_of
from serving.redis.codec import unpack_evidence
from serving.redis.keys import keys_of
from tests.faults.record import ARMS, DIMENSION, NOTHING, POLICIES, Scope, Sums, check_promises, expected
from tests.serving.server import Server, serving, whole
from tests.serving.waiting import alive, eventually

WORKERS = 2
EXACT = 1e-9


@dataclass
class Site:
    """What runs. `kill` breaks a part of it, and starts again what nothing in the product starts again by itself."""

    store: EmbeddedServer
    folder: Path
    settings: dict[str, object]
    server: Server = field(init=False)
    _servers: AsyncExitStack = field(default_factory=AsyncExitStack)
    # The kernel ends a store with the thread that started it: one thread, for as long as the site stands.
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    async def kill(self, what: str, rng: np.random.Generator) -> None:
        """Kill -9 a ``worker``, the whole ``server`` or the ``store``."""
        match what:
            case "worker":
                workers = self.server.workers
                await _kill([workers[int(rng.integers(len(workers)))]])
            case "server":
                port = self.server.address.rpartition(":")[2]
                await _kill(whole(self.server.process))
                await self._serve(port=port)
            case "store":
                self.store.kill()
                await self.do(self.store.start)

    async def recovered(self) -> None:
        """Return once every worker serves, also one that is being started again: who asks next may reach any of them."""
        await eventually(lambda: self.server.all_serve, 30, f"every worker serves; {self.server.log}")

    async def do(self, act: Callable[[], Any]) -> None:
        """In the thread that starts processes."""
        await asyncio.get_running_loop().run_in_executor(self._starter, act)

    async def check_promises(self, scopes: list[Scope]) -> None:
        """Every answered call is in the evidence once, every unanswered one at most once; asked of the server, as anybody can."""
        async with self.server.channel() as channel:
            stub = policy_pb2_grpc.PolicyServiceStub(channel)
            for scope in scopes:
                answer = await stub.GetEvidence(policy_pb2.GetEvidenceRequest(policy=scope.policy, scope=scope.name), timeout=10.0)
                found = {arm.arm: arm for arm in answer.arms}
                for arm in ARMS:
                    seen = found.get(arm, policy_pb2.ArmEvidence())
                    check_promises(scope, arm, seen.count, seen.reward_sum)

    async def check_sums(self, scopes: list[Scope], logged: Mapping[tuple[str, str, str], Sums] | None = None) -> None:
        """The evidence is the client's record (or what was logged, by policy, scope and arm): count and Σr exactly, b and A to `EXACT`."""
        namespaces = await self._namespaces()
        with redis.Redis(port=self.store.port) as client:
            for scope in scopes:
                found = _evidence(client, namespaces[scope.policy], scope)
                for k, arm in enumerate(ARMS):
                    own = expected(scope, arm) if logged is None else logged.get((scope.policy, scope.name, arm), NOTHING)
                    assert (found.count[k], found.reward_sum[k]) == (own.count, own.reward_sum), (scope.policy, scope.name, arm)
                    for stored, sums in ((found.b[k], own.b), (found.a[k], own.a)):
                        assert (np.abs(stored - sums) <= EXACT * np.maximum(1.0, np.abs(sums))).all(), (scope.policy, scope.name, arm)

    async def _namespaces(self) -> dict[str, Namespace]:
        async with self.server.channel() as channel:
            stub = policy_pb2_grpc.PolicyServiceStub(channel)
            answers = [await stub.GetPolicy(policy_pb2.GetPolicyRequest(policy=name), timeout=10.0) for name in POLICIES]
        return {answer.policy.name: Namespace(answer.policy.namespace) for answer in answers}

    async def _serve(self, **settings: object) -> None:
        # A worker whose parent was killed drains. It is killed in the meantime: else gRPC would cancel calls as it stops.
        given = {"workers": WORKERS, "drain_notice_s": 60, **self.settings, **settings}
        self.server = await self._servers.enter_async_context(serving(self.store, self.folder, **given))


@asynccontextmanager
async def site(store: EmbeddedServer, folder: Path, **settings: object) -> AsyncIterator[Site]:
    """A store and a server on it; both are gone when the block is left."""
    here = Site(store, folder, settings)
    try:
        async with here._servers:
            await here.do(store.start)
            await here._serve()
            yield here
    finally:
        await here.do(store.stop)  # behind a start that may be under way
        here._starter.shutdown()


async def _kill(processes: list[psutil.Process]) -> None:
    """All at once; return when they are gone."""
    for process in processes:
        process.kill()
    await eventually(lambda: not any(alive(process.pid) for process in processes))


def _evidence(client: redis.Redis, namespace: Namespace, scope: Scope) -> Evidence:
    """What the store keeps of a scope, zeros for an arm it knows nothing of."""
    keys = keys_of(shard_of(PolicyName(scope.policy), ScopeId(scope.name)))
    arms = [ArmId(arm) for arm in ARMS]
    rows = cast(list[bytes | None], client.hmget(keys.evidence(namespace, ScopeId(scope.name)), arms))
    return unpack_evidence(arms, rows, DIMENSION)
