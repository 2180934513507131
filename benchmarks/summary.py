"""What the rounds of a benchmark come to: pooled percentiles, and the ratio to the echo of the same round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from benchmarks.load import Cell

Key = tuple[str, int]
"""Method and calls in flight."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One method at one width, over all rounds.

    Args:
        calls: how many.
        p50_ms, p99_ms: over the calls of all rounds.
        cpu_us: of the server's processes, a call.
    """

    calls: int
    p50_ms: float
    p99_ms: float
    cpu_us: float


def summarise(cells: Sequence[Cell]) -> Summary:
    """Pool the rounds."""
    seconds = np.concatenate([cell.seconds for cell in cells])
    p50, p99 = np.percentile(seconds, [50, 99])
    return Summary(len(seconds), 1e3 * float(p50), 1e3 * float(p99), 1e6 * sum(cell.cpu_s for cell in cells) / len(seconds))


def ratio(cells: Sequence[Cell], echoes: Sequence[Cell]) -> tuple[float, float, float]:
    """Median, least and greatest over the rounds of a median latency over the echo's of the same round."""
    ratios = [float(np.median(a.seconds) / np.median(b.seconds)) for a, b in zip(cells, echoes, strict=True)]
    return float(np.median(ratios)), min(ratios), max(ratios)


def table(title: str, rounds: Mapping[Key, Sequence[Cell]], echoes: Mapping[Key, Sequence[Cell]], target_ms: float) -> Table:
    """One row a method and width: ours, the echo's, their ratio, and whether the target is met."""
    result = Table(title=title, title_justify="left", title_style="bold")
    result.add_column("method")
    columns = (
        "in flight",
        "calls",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "echo p50",
        "echo p99",
        "echo CPU",
        "p50 / echo",
        f"p99 < {target_ms:g} ms",
    )
    for column in columns:
        result.add_column(column, justify="right")
    for (method, width), cells in rounds.items():
        ours, bare = summarise(cells), summarise(echoes[method, width])
        middle, least, most = ratio(cells, echoes[method, width])
        verdict = Text("met", "bold green") if ours.p99_ms < target_ms else Text("missed", "bold red")
        result.add_row(
            method,
            str(width),
            f"{ours.calls:,}",
            *(f"{ms:.2f}" for ms in (ours.p50_ms, ours.p99_ms)),
            f"{ours.cpu_us:.0f}",
            *(f"{ms:.2f}" for ms in (bare.p50_ms, bare.p99_ms)),
            f"{bare.cpu_us:.0f}",
            f"{middle:.1f} ({least:.1f} to {most:.1f})",
            verdict,
        )
    return result
