"""The generators there are on this machine, best first."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.load import DEADLINE_S, TIMEOUT_S, Answers, BenchmarkError, Generator, Load
from benchmarks.python_load import PythonLoop

ROOT = Path(__file__).parent.parent
SOURCE, BUILT = ROOT / "benchmarks" / "loadgen", ROOT / "build" / "loadgen"
BUILD_S = 300.0


def available() -> tuple[Generator, ...]:
    """All that work here; the last can send anything."""
    found: list[Generator] = []
    if (go := shutil.which("go")) is not None and _built(go):
        found.append(Compiled(BUILT))
    if (h2load := shutil.which("h2load")) is not None:
        found.append(H2load(h2load))
    return (*found, PythonLoop())


@dataclass(frozen=True, slots=True)
class Compiled:
    """`loadgen/`, in Go, on one core: it must not take from the server what it is there to measure."""

    program: Path
    name: str = "loadgen"

    def can(self, load: Load) -> bool:
        """Anything."""
        return True

    def send(self, address: str, load: Load) -> Answers:
        """See `Generator`."""
        methods = list(dict.fromkeys(message.method for message in load.messages))
        with tempfile.TemporaryDirectory(prefix="ooml-load-") as name:
            messages, latencies, replies = (Path(name, what) for what in ("messages", "latencies", "replies"))
            with messages.open("wb") as file:
                for message in load.messages:
                    file.write(methods.index(message.method).to_bytes(1, "little") + len(message.body).to_bytes(4, "little") + message.body)
            options = {
                "target": address,
                "protocol": load.protocol,
                "methods": ",".join(methods),
                "messages": messages,
                "requests": load.calls,
                "in-flight": load.in_flight,
                "connections": load.connections,
                "rate": load.rate or 0,
                "seed": load.seed,
                "deadline": f"{DEADLINE_S}s",
                "timeout": f"{TIMEOUT_S}s",
                "latencies": latencies,
                "replies": replies,
            }
            command = [str(self.program), *(word for key, value in options.items() for word in (f"-{key}", str(value)))]
            said = subprocess.run(command, env={**os.environ, "GOMAXPROCS": "1"}, capture_output=True, text=True, check=False)
            if said.returncode != 0:
                raise BenchmarkError(said.stderr.strip())
            seconds, late_s = np.split(np.fromfile(latencies, "<i8") / 1e9, [load.calls])
            return Answers(
                seconds, list(_records(replies.read_bytes())), json.loads(said.stdout)["wall_s"], late_s if late_s.size else None
            )


@dataclass(frozen=True, slots=True)
class H2load:
    """nghttp2's generator: the first message alone, again and again. In an open loop it counts from when a call really began."""

    program: str
    name: str = "h2load, one person"

    def can(self, load: Load) -> bool:
        """One unary message over and over."""
        return load.protocol == "unary" and not load.distinct

    def send(self, address: str, load: Load) -> Answers:
        """See `Generator`."""
        method, message = load.messages[0]
        clients = min(load.connections, load.in_flight)
        with tempfile.TemporaryDirectory(prefix="ooml-load-") as name:
            body, log = Path(name, "body"), Path(name, "log")
            body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # gRPC: not compressed, so long
            command = [self.program, f"--clients={clients}", f"--requests={load.calls}", f"--data={body}", f"--log-file={log}"]
            command += [f"--max-concurrent-streams={max(1, load.in_flight // clients) if load.rate is None else 256}"]
            command += [] if load.rate is None else [f"--rps={load.rate / clients}"]
            for header in ("content-type: application/grpc", "te: trailers", f"grpc-timeout: {DEADLINE_S:g}S"):
                command += ["-H", header]
            began = time.perf_counter()
            ran = subprocess.run([*command, f"http://{address}{method}"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            wall_s = time.perf_counter() - began
            rows = [line.split("\t") for line in log.read_text().splitlines()]
        # gRPC answers 200 whatever went wrong; but only what went well comes with a message, whose length prefix alone is five bytes.
        data = re.search(r"\((\d+)\) data", ran.stdout)
        if len(rows) != load.calls or any(row[1] != "200" for row in rows) or data is None or int(data[1]) < 6 * load.calls:
            raise BenchmarkError(f"h2load did not get {load.calls} answers:\n{ran.stdout}")
        return Answers(np.array([int(row[2]) for row in rows]) / 1e6, (), wall_s)


def _built(go: str) -> bool:
    """Build the compiled generator (in a moment, when nothing changed); what stands in the way is said, and others do the work."""
    command = [go, "build", "-C", str(SOURCE), "-trimpath", "-buildvcs=false", "-o", str(BUILT), "."]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired:
        why = f"it took more than {BUILD_S:g} s"
    else:
        if ran.returncode == 0:
            return True
        why = ran.stderr.strip()
    print(f"benchmarks/loadgen could not be built: {why}", file=sys.stderr)
    return False


def _records(packed: bytes) -> Iterator[bytes]:
    """Replies, each after its length."""
    at = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], "little")
        yield packed[at + 4 : at + 4 + size]
        at += 4 + size


def names(generators: Sequence[Generator]) -> str:
    """Of all, for the record."""
    return ", ".join(generator.name for generator in generators)
