"""What the runs that are kept leave in `docs/`: verdicts in `performance.md`, all rows in `performance-rows.md`, pictures.

``python -m benchmarks.docs`` writes them anew, as `make bench` does after each run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks import plots
from benchmarks.kept import Run, runs
from benchmarks.table import glance, markdown

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- verdicts: written by make bench -->", "<!-- end of verdicts -->"


def write(folder: Path, kept: Mapping[str, Run]) -> None:
    """Put the verdicts between the two marks of `performance.md`, write the rows of all runs, and draw the first.

    Args:
        kept: by name, at least one.
    """
    page = folder / "performance.md"
    page.write_text(replaced(page.read_text(), glance({name: run.listed for name, run in kept.items()})))
    (folder / "performance-rows.md").write_text(all_rows(kept))
    plots.save(folder, next(iter(kept.values())).rows)


def all_rows(kept: Mapping[str, Run]) -> str:
    """A page of all rows of all runs, each run with what it was made on."""
    parts = [
        "# Performance, row by row\n\n"
        "Written by `make bench`. [Performance](performance.md) says what the rows mean, and what bounds them.\n"
    ]
    for name, run in kept.items():
        told, machine, versions = run.told, run.told["machine"], run.told["versions"]
        parts.append(
            f"## `benchmarks/results/{name}.json`\n\n"
            f"{told['at'][:10]}, commit {versions['commit']}: "
            f"`{told['command']}`, {told['took_s']:,.0f} s, {told['sizes']['rounds']} rounds.\n"
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {versions['store']}.\n\n"
            f"{markdown(run.listed)}"
        )
    return "\n".join(parts)


def replaced(text: str, verdicts: str) -> str:
    """The page with other verdicts; all else stays.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{verdicts}{END}{after}"


if __name__ == "__main__":
    write(DOCS, runs())
