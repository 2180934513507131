"""Closed-loop load: so many calls in flight for so long, each answered before its place is taken by the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
import psutil
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from policies.types import Floats

_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One method at one width, once.

    Args:
        seconds: (n,) how long each call took, as the caller saw it.
        cpu_s: CPU the server's processes spent meanwhile, together.
    """

    seconds: Floats
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """CPU a request, in microseconds."""
        return 1e6 * self.cpu_s / len(self.seconds)


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load: its channel, and the processes whose CPU counts."""

    channel: grpc.aio.Channel
    processes: Sequence[psutil.Process]

    def cpu_s(self) -> float:
        """CPU seconds its processes have spent so far, in user and kernel."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.processes))


async def score_then_reward(target: Target, requests: Iterator[pb.ScoreRequest], width: int, score_s: float) -> tuple[Cell, Cell]:
    """Score for a while, then reward every decision that was made; returns both cells."""
    stub = bandit_pb2_grpc.BanditServiceStub(target.channel)
    decisions: list[str] = []

    async def score() -> None:
        decisions.append((await stub.Score(next(requests), timeout=_DEADLINE_S)).decision_id)

    async def reward() -> None:
        await stub.Reward(pb.RewardRequest(decision_id=decisions.pop(), outcome="done"), timeout=_DEADLINE_S)

    end = time.perf_counter() + score_s
    scored = await _cell(target, score, width, lambda: time.perf_counter() < end)
    rewarded = await _cell(target, reward, width, lambda: bool(decisions))
    return scored, rewarded


async def _cell(target: Target, call: Callable[[], Awaitable[None]], width: int, more: Callable[[], bool]) -> Cell:
    seconds: list[float] = []

    async def one_place() -> None:
        while more():
            start = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - start)

    before = target.cpu_s()
    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(one_place())
    return Cell(np.array(seconds), target.cpu_s() - before)
