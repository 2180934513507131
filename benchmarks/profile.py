"""Where a Score's time goes: the worker sampled under load by py-spy (`pip install py-spy`), as shares by part of the program.

A sample of a thread that runs counts for the innermost frame that belongs to a part: what NumPy, protobuf or the kernel does for it is
the part's own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import generators
from benchmarks.cells import cpu_s
from benchmarks.load import BenchmarkError, Load, Message
from benchmarks.measures.batches import together
from benchmarks.measures.wide import taught
from benchmarks.site import BATCH, Site
from benchmarks.sizes import QUICK

PARTS: Sequence[tuple[str, str]] = (
    ("gc_collect_main", "Python's garbage collector"),
    ("(policies/", "policies: posterior, score, draw"),
    ("(features/", "features: keys, decoding, transforms"),
    ("(serving/redis/", "serving/redis: packing, scripts, connection"),
    ("(serving/service/", "serving/service: checks, the use case"),
    ("(serving/transport/", "serving/transport: parse, render, status"),
    ("(serving/", "serving: the rest"),
    ("redis/", "redis-py"),
    ("cygrpc", "gRPC's core: HTTP/2, its sockets and threads"),
    ("grpc/", "grpcio: handlers, messages"),
    ("uvloop/", "uvloop: sockets to Redis, turns of the loop"),
)
"""What a frame of each part has in it, ``function (file:line)``; most particular first."""

WAITING = ("epoll_wait", "epoll_pwait", "PyThread_acquire_lock_timed", "outlive_parent_by", "pthread_cond", "futex")
"""What one of the innermost frames of a thread that only waits has in it: py-spy counts them too when it looks into C libraries."""

INNERMOST = 5
OTHER = "the rest"
PILOT_CALLS = 400


def shares(folded: str) -> dict[str, float]:
    """Part → share of the samples of threads that ran, largest first, of stacks as py-spy folds them: ``outer;...;inner count``."""
    counts: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any(mark in frame for frame in frames[-INNERMOST:] for mark in WAITING):
            counts[_part(frames)] += int(count)
    total = counts.total()
    return {part: count / total for part, count in counts.most_common()}


def _part(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for mark, name in PARTS:
            if mark in frame:
                return name
    return OTHER


def _sample(site: Site, py_spy: str, messages: Sequence[Message], in_flight: int, seconds: float, units: int) -> str:
    server = site.ooml
    worker = server.workers[0]
    few = PILOT_CALLS // units
    pilot = site.send(server, Load(messages, few, in_flight))
    calls = round(few * (seconds + 2.0) / pilot.wall_s)
    folded = site.folder / "folded"
    options = ["--pid", worker.pid, "--rate", 250, "--duration", round(seconds), "--format", "raw", "--output", folded, "--native"]
    with subprocess.Popen([py_spy, "record", *map(str, options)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as sampling:
        cpu = cpu_s(server.workers)
        site.send(server, Load(messages, calls, in_flight))
        cpu = cpu_s(server.workers) - cpu
        _, said = sampling.communicate(timeout=seconds + 30)
    if sampling.returncode != 0:
        raise BenchmarkError(f"py-spy failed:\n{said}")
    each_us = 1e6 * cpu / (calls * units)
    lines = [f"| {part} | {share:.0%} | {share * each_us:.0f} |" for part, share in shares(folded.read_text()).items()]
    return "\n".join(["| where | share | µs a decision |", "|---|---|---|", *lines, f"| all | | {each_us:.0f} |"])


def main(
    in_flight: Annotated[int, typer.Option(min=1, help="Scores under way at once.")] = 16,
    batch: Annotated[bool, typer.Option("--batch", help=f"Of BatchScore, {BATCH} a call, one call under way.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Of the policy of 64 numbers and 26 arms that everyone shares.")] = False,
    seconds: Annotated[float, typer.Option(min=1, help="How long to sample.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of the server's random draws.")] = 1,
) -> None:
    """Sample a worker that decides, and print a Markdown table."""
    py_spy = shutil.which("py-spy")
    if py_spy is None:
        typer.echo("py-spy is not on PATH: pip install py-spy. It needs the right to trace processes.", err=True)
        raise typer.Exit(2)
    try:
        with tempfile.TemporaryDirectory(prefix="ooml-bench-") as folder, Site(Path(folder), QUICK, seed, generators.available()) as site:
            scores = taught(site) if wide else site.scores()
            if batch:
                print(_sample(site, py_spy, together(scores), 1, seconds, BATCH))
            else:
                print(_sample(site, py_spy, scores, in_flight, seconds, 1))
    except BenchmarkError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
