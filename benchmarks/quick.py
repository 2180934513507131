"""`make bench-quick`: Score and Reward beside a bare gRPC echo of the same messages, in alternation; under a minute.

A Score: 1 user, 10 of their tasks, `tips_v1` from Feast's keys, LinUCB, decision, evidence and event written before the reply.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import grpc
import numpy as np
import typer
import uvloop
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc, policy_pb2, policy_pb2_grpc
from redis.asyncio import Redis
from rich.console import Console

from benchmarks import servers
from benchmarks.load import Cell, each, h2load, measured, repeated
from benchmarks.machine import machine, versions
from benchmarks.servers import BenchmarkError, Server
from benchmarks.summary import Row, row, table
from policies.types import Floats

OUT = Path(__file__).parent / "results" / "quick.json"
SERVICE = "/ooml.bandit.v1.BanditService"
POLICY, USER, CANDIDATES = "tips", "user-00", 10
SCORE = pb.ScoreRequest(
    policy=POLICY,
    entities={"user_id": USER},
    candidates=[pb.Candidate(id=f"task-{k}", entities={"task_id": f"{USER}-task-{k:02d}"}) for k in range(CANDIDATES)],
)
REWARDED = pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1.0).SerializeToString()
PILOT_CALLS = 150
LEAST_CALLS = 32
BATCH = 100
BATCH_S = 30.0
WIDTH = 200
"""Columns of text, at least: the table needs most of them, and a narrower terminal wraps it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of cell: a call, so many in flight, on ooml over a store with that appendfsync, or (None) on the echo."""

    call: str
    width: int
    fsync: str | None


PLAN = tuple(
    tuple(Kind(call, width, fsync) for fsync in fsyncs)
    for call, width, fsyncs in (
        ("Score", 1, (None, "always", "everysec")),
        ("Score", 16, (None, "always", "everysec")),
        ("Reward", 1, (None, "always")),
        ("Reward", 16, (None, "always")),
    )
)
"""Cells that are compared, each with its echo, stand together and so run within seconds of each other."""


@dataclass(slots=True)
class Bench:
    """Servers that run, connections to them, and what has been measured so far."""

    ooml: Server
    echo: Server
    redis: Redis
    to_ooml: grpc.aio.Channel
    to_echo: grpc.aio.Channel
    h2load: str | None
    cells: dict[Kind, list[Cell]] = field(default_factory=dict)

    async def run(self, rounds: int, cell_s: float) -> None:
        """Measure all cells round by round, each round in another order; each cell with as many calls as would have filled the last."""
        await self._check_features()
        last = {kind: await self._cell(kind, PILOT_CALLS) for kinds in PLAN for kind in kinds}
        for r in range(rounds):
            for kinds in PLAN:
                for kind in kinds[r % len(kinds) :] + kinds[: r % len(kinds)]:
                    each_s = float(np.median(last[kind].seconds)) / kind.width
                    last[kind] = await self._cell(kind, max(LEAST_CALLS, round(cell_s / each_s)))
                    self.cells.setdefault(kind, []).append(last[kind])

    def rows(self) -> list[Row]:
        """What it came to."""
        scored_by = "python" if self.h2load is None else "h2load"
        generators = {"Score": scored_by, "Reward": "python"}
        return [
            row(kind.call, kind.width, kind.fsync, generators[kind.call], cells, self.cells[Kind(kind.call, kind.width, None)])
            for kind, cells in self.cells.items()
            if kind.fsync is not None
        ]

    async def _cell(self, kind: Kind, calls: int) -> Cell:
        if kind.fsync is None:
            decisions: Sequence[str] = ["0123456789abcdefghijklmnopqrstuvwxyz"] * calls
            server, channel = self.echo, self.to_echo
        else:
            await self.redis.config_set("appendfsync", kind.fsync)
            decisions = await self._decisions(calls) if kind.call == "Reward" else ()
            server, channel = self.ooml, self.to_ooml
        if kind.call == "Reward":
            messages = [pb.RewardRequest(decision_id=decision, outcome="done").SerializeToString() for decision in decisions]
            return await measured(server, lambda: each(channel, f"{SERVICE}/Reward", messages, kind.width, REWARDED))
        before = await self._decided()
        cell = await measured(server, lambda: self._scores(server, calls, kind.width))
        decided = await self._decided() - before
        if decided != (0 if kind.fsync is None else calls):
            raise BenchmarkError(f"{calls} calls of Score made {decided} decisions")
        return cell

    async def _scores(self, server: Server, calls: int, width: int) -> Floats:
        return await repeated(server.address, f"{SERVICE}/Score", SCORE.SerializeToString(), calls, width, self.h2load)

    async def _decisions(self, count: int) -> list[str]:
        """Fresh decisions to be rewarded."""
        stub = bandit_pb2_grpc.BanditServiceStub(self.to_ooml)
        made: list[str] = []
        while len(made) < count:
            batch = pb.BatchScoreRequest(requests=[SCORE] * min(BATCH, count - len(made)))
            answer = await stub.BatchScore(batch, timeout=BATCH_S)
            made += [result.response.decision_id for result in answer.results]
        return made

    async def _decided(self) -> int:
        """How many decisions the user's evidence holds."""
        stub = policy_pb2_grpc.PolicyServiceStub(self.to_ooml)
        evidence = await stub.GetEvidence(policy_pb2.GetEvidenceRequest(policy=POLICY, scope=USER), timeout=5.0)
        return round(sum(arm.count for arm in evidence.arms))

    async def _check_features(self) -> None:
        """Feast's keys are really there: nothing is absent but whether a task is overdue that is never due."""
        status = (await bandit_pb2_grpc.BanditServiceStub(self.to_ooml).Score(SCORE, timeout=5.0)).feature_status
        if status.expired or set(status.missing_features) - {"is_overdue"}:
            raise BenchmarkError(f"features are missing: {status}")


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Times everything is measured, in alternation.")] = 5,
    cell_s: Annotated[float, typer.Option(min=0.01, help="Seconds one measurement takes, about.")] = 0.4,
    seed: Annotated[int, typer.Option(help="Of the server's random draws.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result is written as JSON.")] = OUT,
) -> None:
    """Measure Score and Reward beside a bare gRPC echo of the same messages."""
    began, on = time.monotonic(), machine()
    try:
        rows, result = uvloop.run(_measure(rounds, cell_s, seed))
    except BenchmarkError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**result, "machine": on, "took_s": round(time.monotonic() - began, 1)}, indent=1, ensure_ascii=False) + "\n")
    console = Console(width=max(Console().width, WIDTH), highlight=False)
    console.print(table(rows))
    console.print(
        f"One worker, one Valkey; {rounds} rounds in alternation; ratios are the rounds' median (least to greatest).\n"
        f"CPU is the worker's, a call. Load: Score by {rows[0].generator}, Reward by a Python loop (its time is in both latencies).\n"
        f"{', '.join(f'{name} {value}' for name, value in on.items())}\n{out} has the rest. {time.monotonic() - began:.0f} s."
    )


async def _measure(rounds: int, cell_s: float, seed: int) -> tuple[list[Row], dict[str, object]]:
    program = h2load()
    with tempfile.TemporaryDirectory(prefix="ooml-bench-") as name:
        folder = Path(name)
        with servers.store(folder) as redis, servers.ooml(redis, folder, seed) as ooml, servers.echo() as echo:
            async with (
                Redis.from_url(redis.url) as client,
                grpc.aio.insecure_channel(ooml.address) as to_ooml,
                grpc.aio.insecure_channel(echo.address) as to_echo,
            ):
                bench = Bench(ooml, echo, client, to_ooml, to_echo, program)
                await bench.run(rounds, cell_s)
            rows = bench.rows()
            return rows, {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": shlex.join(["python", "-m", "benchmarks.quick", *sys.argv[1:]]),
                "seed": seed,
                "rounds": rounds,
                "cell_s": cell_s,
                "versions": versions(redis.url, program),
                "settings": {"server": servers.SETTINGS, "store": dict(redis.settings), "policy": POLICY, "candidates": CANDIDATES},
                "rows": [asdict(row) for row in rows],
                "cells": [_raw(kind, r, cell) for kind, cells in bench.cells.items() for r, cell in enumerate(cells)],
            }


def _raw(kind: Kind, number: int, cell: Cell) -> dict[str, object]:
    p50, p99 = np.percentile(cell.seconds, [50, 99])
    measured = {"calls": len(cell.seconds), "p50_s": p50, "p99_s": p99, "cpu_s": cell.cpu_s, "store_cpu_s": cell.store_cpu_s}
    return {"round": number, **asdict(kind), **measured}


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
