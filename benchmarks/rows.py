"""What a measure comes to: a figure over its rounds, and whether it is what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmarks.cells import Cell


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one round."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Limit:
    """What is asked of a figure; it counts by its median."""

    sign: Literal["≤", "<", "≥"]
    value: float

    def met(self, figure: Spread) -> bool:
        """Whether it is so."""
        match self.sign:
            case "≤":
                return figure.median <= self.value
            case "<":
                return figure.median < self.value
            case "≥":
                return figure.median >= self.value


def at_most(value: float) -> Limit:
    """≤ value."""
    return Limit("≤", value)


def below(value: float) -> Limit:
    """< value."""
    return Limit("<", value)


def at_least(value: float) -> Limit:
    """≥ value."""
    return Limit("≥", value)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        what: was measured.
        figure: over the rounds.
        unit: of the figure; ``×``: a ratio, taken within each round.
        generator: that drove the load; empty without load.
        calls: made in all rounds.
        must: what is asked of the figure; None: it is only told.
        reach: what is hoped for.
        beside: other figures of the same measurement, by name with its unit.
        note: what a reader of the figure has to know.
        x: where in a plot the figure stands; None where there is none.
    """

    what: str
    figure: Spread
    unit: str
    generator: str
    calls: int
    must: Limit | None = None
    reach: Limit | None = None
    beside: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    x: float | None = None

    @property
    def verdict(self) -> str:
        """``met`` or ``missed``, by what must be; empty where nothing must."""
        return _judge(self.must, self.figure)

    @property
    def reached(self) -> str:
        """The same of what is hoped for."""
        return _judge(self.reach, self.figure)


def ratios(cells: Sequence[Cell], others: Sequence[Cell], of: Callable[[Cell], float]) -> Spread:
    """A figure of the cells over that of the others of the same round."""
    return Spread.of([of(ours) / of(theirs) for ours, theirs in zip(cells, others, strict=True)])


def cpu_against(
    what: str,
    ours: Sequence[Cell],
    theirs: Sequence[Cell],
    name: str,
    must: Limit | None,
    reach: Limit | None = None,
    *,
    of_theirs: bool = False,
) -> Row:
    """CPU of a unit of ours over theirs of the same round; ``of_theirs``: the other way round, units for a CPU second.

    Args:
        name: what the others are called beside the figure; empty: they are not told.
    """
    over, under = (theirs, ours) if of_theirs else (ours, theirs)
    return Row(
        what=what,
        figure=ratios(over, under, lambda cell: cell.cpu_us),
        unit="×",
        generator=ours[0].generator,
        calls=calls_of(ours),
        must=must,
        reach=reach,
        beside=summary(ours) | (summary(theirs, f"{name} ") if name else {}),
    )


def cpu_by(what: str, cells: Sequence[Cell], x: float) -> Row:
    """CPU of a unit, as a point of a plot."""
    return Row(what, Spread.of([cell.cpu_us for cell in cells]), "µs", cells[0].generator, calls_of(cells), beside=summary(cells), x=x)


def summary(cells: Sequence[Cell], prefix: str = "") -> dict[str, float]:
    """Over all rounds: percentiles of the calls in milliseconds, CPU a unit in microseconds, of workers and of stores.

    In an open loop also how late their generator began them, which is in their times: no server took it.
    """
    p50, p99 = 1e3 * np.percentile(np.concatenate([cell.seconds for cell in cells]), [50, 99])
    late_s = [cell.late_s for cell in cells if cell.late_s is not None]
    units = sum(cell.units for cell in cells)
    found = {
        "p50 ms": float(p50),
        "p99 ms": float(p99),
        "begun late, p99 ms": 1e3 * float(np.percentile(np.concatenate(late_s), 99)) if late_s else 0.0,
        "CPU µs": 1e6 * sum(cell.cpu_s for cell in cells) / units,
        "store CPU µs": 1e6 * sum(cell.store_cpu_s for cell in cells) / units,
    }
    return {prefix + name: value for name, value in found.items() if value}


def calls_of(cells: Sequence[Cell]) -> int:
    """How many calls the rounds made."""
    return sum(len(cell.seconds) for cell in cells)


def _judge(limit: Limit | None, figure: Spread) -> str:
    if limit is None:
        return ""
    return "met" if limit.met(figure) else "missed"
