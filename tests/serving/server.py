"""`ooml serve` as its users run it: a process of its own, found by the line it prints."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from cli.embedded import EmbeddedServer
from serving.transport.server import SERVICES
from tests.serving.waiting import alive, eventually

OOML = [sys.executable, "-c", "from cli.main import app; app()"]
POLICY = """
name: toy
features: [a]
scope: user_id
exploration: 0.5
reward: {range: [0, 1], default: 0}
"""


def environment(**settings: object) -> dict[str, str]:
    """Of a server process: ours, with these settings and no others."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("OOML_")}
    return outside | {f"OOML_{name.upper()}": str(value) for name, value in settings.items()}


def publish_toy(store: EmbeddedServer, folder: Path) -> None:
    """Publish one policy, whose features callers send."""
    (folder / "toy.yaml").write_text(POLICY)
    subprocess.run([*OOML, "apply", str(folder)], env=environment(redis_url=store.url), check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes, as they are now."""
        with suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.process.pid).children() if alive(child.pid)]
        return []

    @property
    def all_serve(self) -> bool:
        """Whether each of its workers that lives has said that it serves, and none is missing."""
        workers: dict[str, tuple[int, bool]] = {}
        for line in lines_of(self.log):
            match line:
                case {"event": "process started", "role": role, "child": pid}:
                    workers[role] = (pid, False)
                case {"event": "serving" | "not serving" as said, "process": role} if role in workers:
                    workers[role] = (workers[role][0], said == "serving")
        return {pid for pid, serves in workers.values() if serves} == {worker.pid for worker in self.workers} and len(workers) > 0

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own, and so perhaps another worker's."""
        return grpc.aio.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])

    async def stop(self, within_s: float = 15.0) -> int:
        """Ask it to stop, as a process manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(within_s)

    async def ended(self, within_s: float = 15.0) -> int:
        """Wait for its end; its exit code."""
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), within_s)


@asynccontextmanager
async def serving(store: EmbeddedServer, folder: Path, **settings: object) -> AsyncIterator[Server]:
    """A server on a store; killed with all of its processes when the block is left."""
    log = folder / "server.log"
    given = {"port": 0, "redis_url": store.url, "drain_notice_s": 0, **settings}
    with log.open("a") as file:
        process = subprocess.Popen(  # noqa: ASYNC220  starting takes no time, and its pipe is read in a thread
            [*OOML, "serve"], env=environment(**given), stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)
        assert line.startswith("ooml serving grpc="), log.read_text()
        yield Server(line.split("grpc=")[1].split()[0], process, log)
    finally:
        for one in whole(process):
            one.kill()
        process.communicate()


def lines_of(log: Path) -> list[dict[str, Any]]:
    """What processes wrote to a log; nothing of a line that one that was killed did not finish."""
    found = []
    for line in log.read_text().splitlines() if log.exists() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def whole(server: subprocess.Popen[str]) -> list[psutil.Process]:
    """A server's processes, itself the last, to be killed; none when it has ended."""
    with suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(server.pid)
        supervisor.suspend()  # else it may start another one, or let go of one that has ended, once they are listed
        return [*supervisor.children(recursive=True), supervisor]
    return []


async def score(channel: grpc.aio.Channel, user: str = "u", *, policy: str = "toy", timeout: float = 5.0) -> pb.ScoreResponse:  # noqa: ASYNC109
    """Choose between two candidates."""
    request = pb.ScoreRequest(policy=policy, entities={"user_id": user}, context={"a": 1.0})
    request.candidates.extend([pb.Candidate(id="x"), pb.Candidate(id="y")])
    return await bandit_pb2_grpc.BanditServiceStub(channel).Score(request, timeout=timeout)


async def health(channel: grpc.aio.Channel, service: str = "") -> str:
    """What the server says of itself, or the status code of the attempt."""
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=2.0)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def becomes(channel: grpc.aio.Channel, expected: str, within_s: float = 30.0) -> None:
    """Wait until every service's health is as expected."""

    async def so() -> bool:
        return {await health(channel, service) for service in ("", *SERVICES)} == {expected}

    await eventually(so, within_s, f"health {expected}")


def reason(error: grpc.aio.AioRpcError) -> tuple[str, bool]:
    """Why a call failed, and whether the caller is told when to try again."""
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is asked of a call
    assert status is not None
    told = [detail.Unpack(retry) for detail in status.details]
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason, any(told)


def scrape(port: int) -> dict[str, float]:
    """What Prometheus would read; empty before anything is counted."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def left_s(deadline: float) -> float:
    """Seconds until a moment of the monotonic clock."""
    return deadline - time.monotonic()
