"""`make bench` and `make bench-quick`: every measure in turn, one table, one JSON file.

A Score here: 1 user, 10 of their tasks, `tips_v1` from Feast's keys, LinUCB; decision, evidence and event are written before the reply.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import generators, servers
from benchmarks.kept import RESULTS, Run
from benchmarks.load import BenchmarkError
from benchmarks.machine import machine, versions
from benchmarks.measures import against, batches, candidates, cluster, crowd, events, floor, latency, reading, startup, wide, workers
from benchmarks.rows import Row
from benchmarks.schedule import InRounds, Whole, run
from benchmarks.site import Site
from benchmarks.sizes import FULL, QUICK, TINY, Sizes
from benchmarks.table import table

SPREAD: Mapping[str, InRounds] = {
    "floor": floor.measure,
    "latency": latency.measure,
    "batches": batches.measure,
    "against": against.measure,
    "wide": wide.measure,
    "cluster": cluster.measure,
}
WHOLE: Mapping[str, Whole] = {
    "reading": reading.measure,
    "candidates": candidates.measure,
    "crowd": crowd.measure,
    "workers": workers.measure,
    "startup": startup.measure,
    "events": events.measure,
}
MEASURES = (*SPREAD, *WHOLE)
QUICK_MEASURES = ("floor",)
WIDTH = 200
"""Columns of text, at least: the table needs most of them, and a narrower terminal wraps it."""


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Measure this alone; may be repeated. One of: {', '.join(MEASURES)}.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only what `make bench-quick` prints, in under a minute.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="To see that everything runs; the figures mean nothing.")] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help=f"Times everything is measured, in alternation. Default: {FULL.rounds}; quick, {QUICK.rounds}."),
    ] = None,
    cell_s: Annotated[
        float | None, typer.Option(min=0.01, help=f"Seconds one measurement takes, about. Default: {FULL.cell_s}; quick, {QUICK.cell_s}.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the servers' random draws.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Where the result is written as JSON. Default: bench.json, quick.json or part.json in results/.")
    ] = None,
) -> None:
    """Measure what decisions cost, and judge it.

    Every ratio is taken between measurements that ran within seconds of each other, round by round, and is given as median (least to
    greatest). CPU is that of the server's workers (and, named so, of its store), for one decision or reward. Load comes from outside the
    server: by `benchmarks/loadgen`, which is built when Go is on PATH, else by h2load, else by a Python loop; the table says which.

    **Examples**

    `python -m benchmarks.bench --only floor --rounds 9` measures Score and Reward beside the echo, longer.

    `python -m benchmarks.bench --quick` is `make bench-quick`.
    """
    chosen = only or list(QUICK_MEASURES if quick else MEASURES)
    if unknown := [name for name in chosen if name not in MEASURES]:
        raise typer.BadParameter(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    sizes = TINY if tiny else QUICK if quick else FULL
    sizes = replace(sizes, rounds=rounds or sizes.rounds, cell_s=cell_s or sizes.cell_s)
    whole = sizes == FULL and chosen == list(MEASURES)
    out = out or RESULTS / ("bench.json" if whole else "quick.json" if quick else "part.json")
    began, on = time.monotonic(), machine()
    try:
        rows, told = _measure(chosen, sizes, seed)
    except BenchmarkError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    took_s = round(time.monotonic() - began, 1)
    made = Run({**_circumstances(sizes, seed), **told, "machine": on, "took_s": took_s}, rows)
    made.write(out)
    console = Console(width=max(Console().width, WIDTH), highlight=False)
    console.print(table(made.listed))
    console.print(
        f"{sizes.rounds} rounds in alternation: median (least to greatest). CPU is the workers', for one decision or reward.\n"
        f"{', '.join(f'{name} {value}' for name, value in on.items())}\n{out} has the rest. {took_s:.0f} s."
    )


def _measure(chosen: Sequence[str], sizes: Sizes, seed: int) -> tuple[dict[str, list[Row]], dict[str, dict[str, str]]]:
    found = generators.available()
    with tempfile.TemporaryDirectory(prefix="ooml-bench-") as folder, Site(Path(folder), sizes, seed, found) as site:
        rows = run(site, chosen, SPREAD, WHOLE, _progress)
        told: dict[str, dict[str, str]] = {
            "versions": versions(site.store.url, generators.names(found)),
            "store": dict(site.store.settings),
        }
    return rows, told


def _circumstances(sizes: Sizes, seed: int) -> dict[str, object]:
    """When a run was made, and how."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.bench", *sys.argv[1:]]),
        "seed": seed,
        "sizes": asdict(sizes),
        "settings": servers.SETTINGS,
    }


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what runs and for how long; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(name, total=None)
        yield lambda text: progress.update(task, description=f"{name}: {text}")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command()(main)
    app()
