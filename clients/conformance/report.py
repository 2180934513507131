"""What came of it, for people: one table, then every failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from clients.conformance.cases import Plan


@dataclass(frozen=True, slots=True)
class Column:
    """One language's results.

    Args:
        wrong: by case, what went wrong with it; an empty list: nothing.
        failure: why there are none.
    """

    name: str
    wrong: Mapping[str, Sequence[str]]
    failure: str = ""


def report(console: Console, plan: Plan, columns: Sequence[Column], absent: Mapping[str, Sequence[str]], *, everything: bool) -> bool:
    """Print it all; whether anything failed.

    Args:
        absent: languages that were skipped, and the tools they lack.
        everything: a row a case instead of a row a group.
    """
    names = [case["name"] for case in plan.cases]
    rows = {name: [name] for name in names} if everything else _groups(names)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("cases")
    for column in columns:
        table.add_column(column.name, justify="right", no_wrap=True)
    for title, cases in rows.items():
        table.add_row(title, *(_cell(column, cases) for column in columns))
    table.add_section()
    table.add_row("all", *(_cell(column, names) for column in columns))
    console.print(table)
    for column in columns:
        _failures(console, column)
    for name, tools in absent.items():
        console.print(f"{name}: skipped, for {' and '.join(tools)} {'is' if len(tools) == 1 else 'are'} not on PATH", style="yellow")
    return any(column.failure or any(column.wrong.values()) for column in columns)


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split("/")[0], []).append(name)
    return groups


def _cell(column: Column, cases: Sequence[str]) -> str:
    if column.failure:
        return "[red]failed"
    failed = sum(bool(column.wrong[case]) for case in cases)
    return f"[red]✗ {failed} of {len(cases)}" if failed else f"[green]{len(cases)} ✓"


def _failures(console: Console, column: Column) -> None:
    if column.failure:
        console.print(f"{column.name}: {column.failure}", style="red", markup=False, highlight=False)
    for case, lines in column.wrong.items():
        for line in lines:
            console.print(f"{column.name}  {case}  {line}", markup=False, highlight=False, soft_wrap=True)
