"""What the rounds of a benchmark come to: pooled percentiles, ratios to the echo of the same round, targets met or missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.load import Cell


@dataclass(frozen=True, slots=True)
class Summary:
    """One kind of call at one width on one server, over all rounds.

    Args:
        calls: how many.
        p50_ms, p99_ms: over the calls of all rounds.
        cpu_us: of the worker, a call.
        store_cpu_us: of its Redis, a call.
    """

    calls: int
    p50_ms: float
    p99_ms: float
    cpu_us: float
    store_cpu_us: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """Over the echo of the same round: median, least and greatest of the rounds."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


@dataclass(frozen=True, slots=True)
class Target:
    """What was hoped for, and whether it came true."""

    what: str
    met: bool

    def __str__(self) -> str:
        return f"{self.what}: {'met' if self.met else 'missed'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it measured, beside the echo.

    Args:
        call: method.
        width: calls in flight.
        fsync: Valkey's appendfsync.
        generator: what drove the load.
    """

    call: str
    width: int
    fsync: str
    generator: str
    ours: Summary
    echo: Summary
    p50_ratio: Ratio
    cpu_ratio: Ratio
    targets: tuple[Target, ...]


def row(call: str, width: int, fsync: str, generator: str, cells: Sequence[Cell], echoes: Sequence[Cell]) -> Row:
    """Summarise rounds and the echo of the same rounds."""
    ours, echo = _summary(cells), _summary(echoes)
    p50 = _ratio(cells, echoes, lambda cell: float(np.median(cell.seconds)))
    cpu = _ratio(cells, echoes, lambda cell: cell.cpu_s / len(cell.seconds))
    return Row(call, width, fsync, generator, ours, echo, p50, cpu, tuple(_targets(call, width, fsync, ours, p50, cpu)))


def table(rows: Sequence[Row]) -> Table:
    """All rows, each with its targets."""
    result = Table(box=box.SIMPLE_HEAD)
    figures = ("calls", "p50 ms", "p99 ms", "CPU µs", "store CPU", "echo p50", "echo p99", "echo CPU", "p50 / echo", "CPU / echo")
    for column in ("call", "in flight", "fsync", *figures, "target"):
        result.add_column(column, justify="right" if column in figures else "left", no_wrap=True)
    for r in rows:
        result.add_row(
            r.call,
            str(r.width),
            r.fsync,
            f"{r.ours.calls:,}",
            *(f"{ms:.2f}" for ms in (r.ours.p50_ms, r.ours.p99_ms)),
            *(f"{us:.0f}" for us in (r.ours.cpu_us, r.ours.store_cpu_us)),
            *(f"{ms:.2f}" for ms in (r.echo.p50_ms, r.echo.p99_ms)),
            f"{r.echo.cpu_us:.0f}",
            str(r.p50_ratio),
            str(r.cpu_ratio),
            Text("\n").join(Text(str(target), "green" if target.met else "red") for target in r.targets),
        )
    return result


def _targets(call: str, width: int, fsync: str, ours: Summary, p50: Ratio, cpu: Ratio) -> Iterator[Target]:
    """What is asked of a row; a ratio counts by its median."""
    yield Target("p99 < 50 ms", ours.p99_ms < 50.0)
    if width > 1:
        limit = {"Score": 1.9, "Reward": 1.7}[call]
        yield Target(f"CPU ≤ {limit:g}×", cpu.median <= limit)
    elif call == "Score":
        limit = {"everysec": 2.3, "always": 3.0}[fsync]
        yield Target(f"p50 ≤ {limit:g}×", p50.median <= limit)


def _summary(cells: Sequence[Cell]) -> Summary:
    seconds = np.concatenate([cell.seconds for cell in cells])
    p50, p99 = np.percentile(seconds, [50, 99])
    per_call_us = 1e6 / len(seconds)
    return Summary(
        len(seconds),
        1e3 * float(p50),
        1e3 * float(p99),
        per_call_us * sum(cell.cpu_s for cell in cells),
        per_call_us * sum(cell.store_cpu_s for cell in cells),
    )


def _ratio(cells: Sequence[Cell], echoes: Sequence[Cell], of: Callable[[Cell], float]) -> Ratio:
    ratios = [of(ours) / of(echo) for ours, echo in zip(cells, echoes, strict=True)]
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))
