"""What a run leaves in `docs/`: its table in `performance.md`, its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import plots
from benchmarks.rows import Row
from benchmarks.table import markdown

BEGIN, END = "<!-- table: written by make bench -->", "<!-- end of table -->"


def write(folder: Path, rows: Mapping[str, Sequence[Row]], said: str) -> None:
    """Put the table between the two marks of `performance.md`, and draw.

    Args:
        said: a line about the run, above the table.
    """
    page = folder / "performance.md"
    page.write_text(replaced(page.read_text(), f"{said}\n\n{markdown([row for found in rows.values() for row in found])}"))
    plots.save(folder, rows)


def replaced(text: str, table: str) -> str:
    """The page with another table; all else stays.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"
