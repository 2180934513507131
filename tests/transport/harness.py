"""A real gRPC server over the store in memory, which a test can make slow, broken or late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2_grpc

from policies.parse import parse_spec
from policies.types import DecisionId, Evidence, Namespace, PolicyName, ScopeId
from serving.memory.catalog import MemoryCatalog
from serving.memory.store import MemoryDecisionStore
from serving.ports import Draft, PublishedPolicy, Query, Recorded, RewardOutcome, Snapshot, Told
from serving.resolve import resolve
from serving.service.bandit import BanditService
from serving.service.deciding import Sources
from serving.service.policies import PolicyService
from serving.transport.admission import Gate
from serving.transport.calls import Limits
from serving.transport.server import GrpcServer, ServerOptions

START_S = 1_700_000_000
WINDOW_S, GRACE_S = 60, 30
UNKNOWN_ID = "00" + "0123456789ab" + "0" * 24
"""Of no decision."""
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

SHOP = {
    "name": "shop",
    "features": ["price", "rain"],
    "scope": "user_id",
    "reward": {"range": [-1, 1], "outcomes": {"bought": 1, "left": 0}, "window": "60s", "late_grace": "30s"},
    "limits": {"arms": 3},
}
STRICT = {**SHOP, "name": "strict", "on_missing": "reject"}
SUMMED = {**SHOP, "name": "summed", "reward": {**SHOP["reward"], "aggregate": "sum"}}  # type: ignore[dict-item]


@dataclass
class Obstacles:
    """What stands in the way of the store: it waits for ``open``, then raises ``error`` if there is one."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    waiting: int = 0
    most_waiting: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def pass_through(self, calls: int = 1) -> None:
        await self._count(+calls)
        try:
            await self.open.wait()
        finally:
            await self._count(-calls)
        if self.error is not None:
            raise self.error

    async def until_waiting(self, calls: int) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.waiting == calls)

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.waiting += change
            self.most_waiting = max(self.most_waiting, self.waiting)
            self.changed.notify_all()


class ObstructedStore:
    """`serving.ports.DecisionStore` behind obstacles."""

    def __init__(self, store: MemoryDecisionStore, obstacles: Obstacles) -> None:
        self._store = store
        self._obstacles = obstacles

    async def read(self, queries: Sequence[Query]) -> list[Snapshot | Exception]:
        await self._obstacles.pass_through(len(queries))
        return await self._store.read(queries)

    async def decide(self, drafts: Sequence[Draft]) -> list[Recorded | Exception]:
        return await self._store.decide(drafts)

    async def activate(self, policy: PublishedPolicy, decision_id: DecisionId) -> float:
        await self._obstacles.pass_through()
        return await self._store.activate(policy, decision_id)

    async def reward(self, rewards: Sequence[Told]) -> list[RewardOutcome | Exception]:
        await self._obstacles.pass_through(len(rewards))
        return await self._store.reward(rewards)

    async def evidence(self, policy: PublishedPolicy, scope: ScopeId) -> Evidence:
        await self._obstacles.pass_through()
        return await self._store.evidence(policy, scope)

    async def forget(self, name: PolicyName, namespaces: Sequence[Namespace], scope: ScopeId) -> None:
        await self._obstacles.pass_through()
        await self._store.forget(name, namespaces, scope)

    async def ping(self) -> None:
        await self._obstacles.pass_through()


@dataclass
class Heard:
    """`Observer` that remembers."""

    calls: list[tuple[str, str, str]] = field(default_factory=list)
    begun: int = 0
    most_at_once: int = 0
    decisions: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_begun(self, calls: int) -> None:
        await self._until(lambda: self.begun >= calls)

    async def until_ended(self, calls: int) -> None:
        await self._until(lambda: len(self.calls) >= calls)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self.something.clear()
                await self.something.wait()

    def began(self) -> None:
        self.begun += 1
        self.most_at_once = max(self.most_at_once, self.begun - len(self.calls))
        self.something.set()

    def ended(self, method: str, policy: str, code: str, duration_s: float) -> None:
        assert duration_s >= 0
        self.calls.append((method, policy, code))
        self.something.set()

    def decided(self, policy: str) -> None:
        self.decisions.append(policy)

    def refused(self, why: str) -> None:
        self.refusals.append(why)


@dataclass
class World:
    """A running server, its clients, and what a test turns."""

    server: GrpcServer
    channel: grpc.aio.Channel
    port: int
    obstacles: Obstacles
    heard: Heard
    now_s: float = START_S

    @property
    def bandit(self) -> bandit_pb2_grpc.BanditServiceAsyncStub:
        return bandit_pb2_grpc.BanditServiceStub(self.channel)

    @property
    def policies(self) -> policy_pb2_grpc.PolicyServiceAsyncStub:
        return policy_pb2_grpc.PolicyServiceStub(self.channel)

    async def decide(self, **changes: Any) -> str:
        """The id of a new decision."""
        return (await self.bandit.Score(score_request(**changes))).decision_id


def score_request(**changes: Any) -> pb.ScoreRequest:
    """A Score that succeeds, but for the changes."""
    fields: dict[str, Any] = {
        "policy": "shop",
        "entities": {"user_id": "u1"},
        "context": {"rain": 1.0},
        "candidates": [pb.Candidate(id="a", features={"price": 2.0}), pb.Candidate(id="b", features={"price": 3.0})],
    }
    return pb.ScoreRequest(**{**fields, **changes})


@asynccontextmanager
async def world(limits: Limits | None = None, gate: Gate | None = None, **options: Any) -> AsyncIterator[World]:
    """A server that answers at once, until a test says otherwise."""
    catalog = MemoryCatalog([resolve(parse_spec(raw), None) for raw in (SHOP, STRICT, SUMMED)])
    obstacles = Obstacles()
    obstacles.open.set()
    store = ObstructedStore(MemoryDecisionStore(lambda: round(here.now_s * 1e6)), obstacles)
    rng = np.random.default_rng(7)
    bandit = BanditService(store, catalog, Sources(lambda: here.now_s, rng, rng.bytes))
    heard = Heard()
    server = GrpcServer(
        bandit,
        PolicyService(store, catalog),
        heard,
        lambda name: catalog.live(PolicyName(name)) is not None,
        ServerOptions(limits or Limits(), **options),
        gate,
    )
    port = server.listen("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        here = World(server, channel, port, obstacles, heard)
        yield here
    obstacles.open.set()
    await server.stop(0)


@dataclass(frozen=True)
class Failure:
    """What a caller sees of an error."""

    code: grpc.StatusCode
    reason: str
    fields: Mapping[str, str]
    retry_after_s: float | None
    message: str


async def failure(call: Any) -> Failure:
    """The error a call ends with, its status read from the trailers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    trailers: dict[str, Any] = dict(error.trailing_metadata())
    seen = read_status(Status.FromString(trailers["grpc-status-details-bin"]))
    assert (error.code(), error.details()) == (seen.code, seen.message)
    pushback = trailers.get("grpc-retry-pushback-ms")
    retried = seen.retry_after_s is not None and seen.code is grpc.StatusCode.UNAVAILABLE
    assert pushback == (str(math.ceil((seen.retry_after_s or 0) * 1000)) if retried else None)
    return seen


def read_status(status: Status) -> Failure:
    """A status in plain values; fails unless it has exactly the details it should."""
    code = next(c for c in grpc.StatusCode if c.value[0] == status.code)
    details: dict[str, Message] = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        assert name not in details
        message = details[name] = {"ErrorInfo": ErrorInfo, "BadRequest": BadRequest, "RetryInfo": RetryInfo}[name]()
        packed.Unpack(message)
    info: Any = details["ErrorInfo"]
    bad: Any = details.get("BadRequest", BadRequest())
    retry: Any = details.get("RetryInfo")
    assert info.domain == "ooml.bandit.v1"
    return Failure(
        code,
        info.reason.removeprefix("ERROR_REASON_"),
        {v.field: v.description for v in bad.field_violations},
        None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        status.message,
    )
