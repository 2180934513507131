"""What is measured: ooml as `ooml up` brings it up, and the echo beside it; one worker each, every server a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.embedded import EmbeddedServer, bundled_server

SETTINGS = {"host": "127.0.0.1", "port": 0, "workers": 1, "access_log": "off"}
"""Of the server, over its defaults."""
_STOP_S = 30


class BenchmarkError(Exception):
    """Nothing can be measured, or what was measured is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server under load.

    Args:
        address: ``host:port`` of its gRPC.
        worker: the process that answers; its CPU is what a call costs.
        store: the process of its Redis, if it has one.
    """

    address: str
    worker: psutil.Process
    store: psutil.Process | None = None


@contextmanager
def store(folder: Path) -> Iterator[EmbeddedServer]:
    """The bundled Valkey (else one on PATH), with settings that keep what it acknowledged."""
    with EmbeddedServer(folder / "store", program=bundled_server()) as server:
        yield server


@contextmanager
def ooml(redis: EmbeddedServer, folder: Path, seed: int) -> Iterator[Server]:
    """`ooml up` on a Redis: the feature repository applied and materialised with its sample, `policy_repo` live."""
    given = {**SETTINGS, "redis_url": redis.url, "seed": seed}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OOML_")}
    environment |= {f"OOML_{name.upper()}": str(value) for name, value in given.items()}
    log = folder / "up.log"
    command = [sys.executable, "-c", "from cli.main import app; app()", "up", "--data-dir", str(folder / "data")]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file, text=True)
    with process:
        try:
            said = dict(word.split("=", 1) for word in _line(process).split() if "=" in word)
            if "grpc" not in said:
                raise BenchmarkError(f"`ooml up` failed; its log ends:\n{log.read_text()[-2000:]}")
            yield Server(said["grpc"], _worker(process.pid), psutil.Process(redis.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_S)


@contextmanager
def echo() -> Iterator[Server]:
    """The floor: what the same messages cost with nothing in between."""
    command = [sys.executable, "-m", "benchmarks.echo"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Server(f"127.0.0.1:{int(_line(process))}", psutil.Process(process.pid))


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout is not None else ""


def _worker(supervisor: int) -> psutil.Process:
    workers = [child for child in psutil.Process(supervisor).children() if "serving.main" in child.cmdline()]
    if len(workers) != 1:
        raise BenchmarkError(f"one worker was asked for, and {len(workers)} run")
    return workers[0]
