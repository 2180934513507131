"""Rows as people read them: on a terminal, and in Markdown for `docs/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def glance(runs: Mapping[str, Sequence[Row]]) -> str:
    """What is asked for, and what each run came to, as a Markdown table; what a run did not measure is empty.

    Args:
        runs: all rows, by name of the run.
    """
    found = {name: {row.what: row for row in rows} for name, rows in runs.items()}
    asked: dict[str, Row] = {}
    for rows in found.values():
        for what, row in rows.items():
            if row.must or row.reach:
                asked.setdefault(what, row)
    lines = [f"| measure | must | reach | {' | '.join(f'`{name}`' for name in runs)} |", f"|---|---|---|{'---|' * len(runs)}"]
    for what, row in asked.items():
        figures = [_against(row.must, rows[what]) if what in rows else "" for rows in found.values()]
        lines.append(f"| {' | '.join((what, _limit(row, row.must), _limit(row, row.reach), *figures))} |")
    return "\n".join(lines) + "\n"


def figure(row: Row) -> str:
    """Median and range with their unit: ``1.85× (1.80 to 1.91)``."""
    spread = row.figure
    median = _median(row)
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
    return Text(f"{_limit(row, limit)}: {verdict}", COLORS[verdict])


def _against(must: Limit | None, row: Row) -> str:
    """``1.40×``, or ``**1.80× missed**``."""
    return f"**{_median(row)} missed**" if must is not None and not must.met(row.figure) else _median(row)


def _median(row: Row) -> str:
    return number(row.figure.median) + _unit(row)


def _limit(row: Row, limit: Limit | None) -> str:
    return "" if limit is None else f"{limit.sign} {limit.value:,g}{_unit(row)}"


def _unit(row: Row) -> str:
    return "×" if row.unit == "×" else f" {row.unit}"


def _rest(row: Row) -> tuple[str, str, str]:
    beside = [f"{name} {number(value)}" for name, value in row.beside.items()]
    return f"{row.calls:,}" if row.calls else "", row.generator, ", ".join([*beside, *([row.note] if row.note else [])])
