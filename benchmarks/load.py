"""Closed-loop load from outside the server: so many calls in flight, each answered before its place is taken by the next.

The compiled generator sends one message over and over; the Python one sends any. Both speak over one connection, in bytes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil

from benchmarks.servers import BenchmarkError, Server
from policies.types import Floats

_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of call at one width, once.

    Args:
        seconds: (n,) how long each call took, as its sender saw it.
        cpu_s: CPU the server's worker spent meanwhile.
        store_cpu_s: CPU its Redis spent meanwhile, in all its threads.
    """

    seconds: Floats
    cpu_s: float
    store_cpu_s: float


def h2load() -> str | None:
    """The compiled generator (nghttp2-client), if this machine has it."""
    return shutil.which("h2load")


async def measured(server: Server, load: Callable[[], Awaitable[Floats]]) -> Cell:
    """Run a load and say what it took."""
    worker, store = _cpu_s(server.worker), _cpu_s(server.store)
    seconds = await load()
    return Cell(seconds, _cpu_s(server.worker) - worker, _cpu_s(server.store) - store)


async def repeated(address: str, method: str, message: bytes, calls: int, width: int, program: str | None) -> Floats:
    """(calls,) seconds each took: one message again and again, by h2load, or from here when there is no such program."""
    if program is not None:
        return await asyncio.to_thread(_by_h2load, program, f"http://{address}{method}", message, calls, width)
    async with grpc.aio.insecure_channel(address) as channel:
        return await each(channel, method, [message] * calls, width)


async def each(channel: grpc.aio.Channel, method: str, messages: Sequence[bytes], width: int, answer: bytes | None = None) -> Floats:
    """(n,) seconds each message took.

    Args:
        answer: the one right answer to all of them; None: whatever is no error.
    """
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    waiting = iter(messages)
    seconds: list[float] = []

    async def one_place() -> None:
        for message in waiting:
            start = time.perf_counter()
            got = await call(message, timeout=_DEADLINE_S)
            seconds.append(time.perf_counter() - start)
            if answer is not None and got != answer:
                raise BenchmarkError(f"{method} answered {got!r}")

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(one_place())
    return np.array(seconds)


def _by_h2load(program: str, url: str, message: bytes, calls: int, width: int) -> Floats:
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # gRPC: not compressed, so long
        command = [
            program,
            "--clients=1",
            f"--requests={calls}",
            f"--max-concurrent-streams={width}",
            f"--data={body}",
            f"--log-file={log}",
        ]
        for header in ("content-type: application/grpc", "te: trailers", f"grpc-timeout: {_DEADLINE_S:g}S"):
            command += ["-H", header]
        said = subprocess.run([*command, url], capture_output=True, text=True, check=False).stdout
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    # gRPC answers 200 whatever went wrong; but only what went well comes with a message, whose length prefix alone is five bytes.
    data = re.search(r"\((\d+)\) data", said)
    if len(rows) != calls or any(row[1] != "200" for row in rows) or data is None or int(data[1]) < 6 * calls:
        raise BenchmarkError(f"h2load did not get {calls} answers:\n{said}")
    return np.array([int(row[2]) for row in rows]) / 1e6


def _cpu_s(process: psutil.Process | None) -> float:
    """CPU seconds a process has spent so far, in user and kernel, in all its threads."""
    if process is None:
        return 0.0
    if sys.platform == "linux":
        # clock_getcpuclockid(3), which Python does not offer: to the nanosecond, where cpu_times counts in steps of 10 ms.
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system
