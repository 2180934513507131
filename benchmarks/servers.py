"""What is measured: ooml, the echo beside it; every server a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ooml.bandit.v1 import bandit_pb2 as pb
from ooml.bandit.v1 import bandit_pb2_grpc

from benchmarks.load import BenchmarkError
from cli.embedded import EmbeddedServer, bundled_server
from cli.embedded_nats import EmbeddedNats
from cli.event_processes import OomlProcess
from cli.kept import Kept

ROOT = Path(__file__).parent.parent
SETTINGS: Mapping[str, object] = {"host": "127.0.0.1", "port": 0, "workers": 1, "access_log": "off", "max_in_flight": 4096}
"""Of the server, over its defaults."""
_OOML = (sys.executable, "-c", "from cli.main import app; app()")
_STOP_S = 30
_SERVING_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """One server under load.

    Args:
        address: ``host:port`` it answers at.
        workers: the processes that answer; their CPU is what a call costs.
        stores: the processes of its Redis, if it has one.
    """

    address: str
    workers: tuple[psutil.Process, ...]
    stores: tuple[psutil.Process, ...] = ()


@contextmanager
def store(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedServer]:
    """The bundled Valkey (else one on PATH), with settings that keep what it acknowledged."""
    with EmbeddedServer(folder, program=bundled_server(), settings=settings) as server:
        yield server


@contextmanager
def up(redis: EmbeddedServer, folder: Path, seed: int) -> Iterator[Server]:
    """`ooml up` on a Redis: the feature repository applied and materialised with the data of the folder, `policy_repo` live."""
    given = {**SETTINGS, "redis_url": redis.url, "seed": seed}
    with _ooml(["up", "--no-events", "--data-dir", str(folder)], given, folder / "up.log") as (process, address):
        yield Server(address, _workers(process, 1), _processes(redis))


@contextmanager
def serve(
    stores: Sequence[EmbeddedServer],
    log: Path,
    *,
    workers: int = 1,
    seed: int = 1,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> Iterator[Server]:
    """`ooml serve` on what lies in a Redis already; several stores are a cluster. Entered once it says that it serves.

    Args:
        credentials: to ask it over TLS, where it speaks nothing else.
    """
    given = {**SETTINGS, "redis_url": stores[0].url, "redis_cluster": len(stores) > 1, "workers": workers, "seed": seed, **(settings or {})}
    with _ooml(["serve"], given, log, environment) as (process, address):
        wait_serving(address, credentials)
        yield Server(address, _workers(process, workers), _processes(*stores))


@contextmanager
def echo(store: EmbeddedServer | None = None) -> Iterator[Server]:
    """The same messages with nothing in between; given a store, with one read and one write of it."""
    stores = () if store is None else (store,)
    with program("benchmarks.echo", *(f"--store={one.url}" for one in stores)) as (process, said):
        yield Server(f"127.0.0.1:{int(said)}", (psutil.Process(process.pid),), _processes(*stores))


@contextmanager
def program(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python program that says one line once it is ready, and ends with its stdin.

    Raises:
        BenchmarkError: it ended without a word.
    """
    command = [sys.executable, "-m", module, *arguments]
    with (log or Path(os.devnull)).open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    with process:
        said = _line(process)
        if not said:
            raise BenchmarkError(f"{module} failed" + _tail(log))
        yield process, said.strip()


def output(module: str, *arguments: str, environment: Mapping[str, str], log: Path) -> str:
    """What a Python program prints until it ends.

    Raises:
        BenchmarkError: it failed.
    """
    with log.open("wb") as file:
        command = [sys.executable, "-m", module, *arguments]
        ran = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=file, text=True, check=False
        )
    if ran.returncode != 0:
        raise BenchmarkError(f"{module} failed" + _tail(log))
    return ran.stdout


@contextmanager
def baseline(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """The afternoon's work: `benchmarks.baseline.app`, its state in a folder."""
    folder.mkdir()
    with program("benchmarks.baseline.app", str(folder), environment=environment, log=folder / "app.log") as (process, said):
        yield Server(f"127.0.0.1:{int(said)}", (psutil.Process(process.pid),))


def apply(policies: Path, redis_url: str) -> None:
    """`ooml apply`, live at once.

    Raises:
        BenchmarkError: they were refused.
    """
    command = [*_OOML, "apply", str(policies), "--dev", "--redis-url", redis_url]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise BenchmarkError(f"`ooml apply` failed:\n{ran.stderr}")


@contextmanager
def event_processes(redis_url: str, nats: EmbeddedNats, folder: Path) -> Iterator[tuple[psutil.Process, ...]]:
    """`ooml relay` and `ooml sink`, at work on a Redis, with a table in the folder; and, beside them, their broker."""
    folder.mkdir()
    given = {"OOML_REDIS_URL": redis_url, "OOML_NATS_URL": nats.url, "OOML_EVENT_TABLE": str(folder / "events")}
    processes = {command: OomlProcess(command, folder / f"{command}.log", given) for command in ("sink", "relay")}
    with ExitStack() as stack:
        for name, process in processes.items():
            stack.enter_context(Kept(name, process))
        yield tuple(psutil.Process(process.pid) for process in (*processes.values(), nats))


def command(name: str, table: str, redis_url: str) -> None:
    """`ooml audit` or `ooml rebuild`.

    Raises:
        BenchmarkError: it failed, or found what it should not.
    """
    ran = subprocess.run([*_OOML, name, "--table", table, "--redis-url", redis_url], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise BenchmarkError(f"`ooml {name}` failed:\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")


def wait_scoring(server: Server, request: pb.ScoreRequest) -> None:
    """Return once a server has taken up the policy a request names.

    Raises:
        BenchmarkError: it does not.
    """
    deadline = time.monotonic() + _SERVING_S
    with grpc.insecure_channel(server.address) as channel:
        stub = bandit_pb2_grpc.BanditServiceStub(channel)
        while time.monotonic() < deadline:
            with suppress(grpc.RpcError):
                stub.Score(request, timeout=5.0)
                return
            time.sleep(0.05)
    raise BenchmarkError(f"policy {request.policy} is not served within {_SERVING_S} s")


def wait_serving(address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
    """Return once a server says that it serves.

    Raises:
        BenchmarkError: it does not.
    """
    deadline = time.monotonic() + _SERVING_S
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            with suppress(grpc.RpcError):
                if stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0).status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.005)
    raise BenchmarkError(f"the server at {address} does not serve within {_SERVING_S} s")


@contextmanager
def _ooml(
    arguments: Sequence[str], settings: Mapping[str, object], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run of `ooml`, and the gRPC address it said; only the settings given count."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OOML_")}
    given = {f"OOML_{name.upper()}": str(value) for name, value in settings.items()}
    command = [*_OOML, *arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**clean, **given, **(environment or {})}, stdout=subprocess.PIPE, stderr=file, text=True
        )
    with process:
        try:
            said = dict(word.split("=", 1) for word in _line(process).split() if "=" in word)
            if "grpc" not in said:
                raise BenchmarkError(f"`ooml {arguments[0]}` failed" + _tail(log))
            yield process, said["grpc"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_S)


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout is not None else ""


def _tail(log: Path | None) -> str:
    return "" if log is None else f"; its log ends:\n{log.read_text(errors='replace')[-2000:]}"


def _processes(*redis: EmbeddedServer) -> tuple[psutil.Process, ...]:
    return tuple(psutil.Process(server.pid) for server in redis)


def _workers(supervisor: subprocess.Popen[str], count: int) -> tuple[psutil.Process, ...]:
    workers = tuple(child for child in psutil.Process(supervisor.pid).children() if "serving.main" in child.cmdline())
    if len(workers) != count:
        raise BenchmarkError(f"{count} workers were asked for, and {len(workers)} run")
    return workers
