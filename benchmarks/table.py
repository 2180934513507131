"""Rows as people read them: on a terminal, and in Markdown for `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.rows import Limit, Row, Spread

COLORS = {"met": "green", "missed": "red"}


def table(rows: Sequence[Row]) -> Table:
    """All rows, each with what is asked of it."""
    result = Table(box=box.SIMPLE_HEAD)
    result.add_column("measure")
    result.add_column("median (range)", justify="right", no_wrap=True)
    result.add_column("must", no_wrap=True)
    result.add_column("reach", no_wrap=True)
    result.add_column("calls", justify="right", no_wrap=True)
    result.add_column("load by")
    result.add_column("beside")
    for row in rows:
        result.add_row(
            row.what,
            figure(row),
            _judged(row, row.must, row.verdict),
            _judged(row, row.reach, row.reached),
            *_rest(row),
            style="dim" * (row.must is None),
        )
    return result


def markdown(rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    lines = ["| measure | median (range) | must | reach | calls | load by | beside |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row.what, figure(row), _judged(row, row.must, row.verdict), _judged(row, row.reach, row.reached), *_rest(row))
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def figure(row: Row) -> str:
    """Median and range with their unit: ``1.85× (1.80 to 1.91)``."""
    spread = row.figure
    median = f"{number(spread.median)}{'×' if row.unit == '×' else ' ' + row.unit}"
    return median if spread == Spread.of([spread.median]) else f"{median} ({number(spread.least)} to {number(spread.greatest)})"


def number(value: float) -> str:
    """Three digits that count, and no more."""
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def _judged(row: Row, limit: Limit | None, verdict: str) -> Text:
    if limit is None:
        return Text()
    return Text(f"{limit.sign} {limit.value:g}{'×' if row.unit == '×' else ' ' + row.unit}: {verdict}", COLORS[verdict])


def _rest(row: Row) -> tuple[str, str, str]:
    beside = [f"{name} {number(value)}" for name, value in row.beside.items()]
    return f"{row.calls:,}" if row.calls else "", row.generator, ", ".join([*beside, *([row.note] if row.note else [])])
