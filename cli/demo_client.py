"""A caller of the service as any other: gRPC and nothing else, with a stopwatch."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

_DEADLINE_S = 10.0
"""Generous, so that a busy laptop does not fail the demo; the percentiles tell how long calls really took."""


class Client:
    """Score and Reward over one channel; how long each call took is kept.

    Args:
        channel: to the server.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = bandit_pb2_grpc.BanditServiceStub(channel)
        self.durations_s: dict[str, list[float]] = {"Score": [], "Reward": []}

    async def score(
        self,
        policy: str,
        candidates: Sequence[pb.Candidate],
        entities: Mapping[str, str],
        *,
        request_time: float | None = None,
        utc_offset_s: float = 0.0,
    ) -> tuple[str, str]:
        """Ask which candidate to take; returns the decision's id and the candidate's."""
        request = pb.ScoreRequest(policy=policy, candidates=candidates, entities=entities)
        if request_time is not None:
            request.request_time.CopyFrom(Timestamp(seconds=math.floor(request_time)))
            request.utc_offset.CopyFrom(Duration(seconds=round(utc_offset_s)))
        with self._timed("Score"):
            response = await self._stub.Score(request, timeout=_DEADLINE_S)
        return response.decision_id, response.candidate_id

    async def reward(self, decision_id: str, outcome: str) -> float:
        """Tell what came of a decision; returns what that is worth."""
        with self._timed("Reward"):
            response = await self._stub.Reward(pb.RewardRequest(decision_id=decision_id, outcome=outcome), timeout=_DEADLINE_S)
        return float(response.value)

    @contextmanager
    def _timed(self, method: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.durations_s[method].append(time.perf_counter() - start)


async def in_flight(jobs: Iterable[Awaitable[None]], width: int) -> None:
    """Run jobs, `width` at a time, each started when an earlier one is done; the first failure ends all."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(work())
