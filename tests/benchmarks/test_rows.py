from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cells import Cell
from benchmarks.rows import Limit, Row, Spread, at_least, at_most, below, ratios, summary
from benchmarks.table import figure, markdown


def cell(*seconds: float, cpu_s: float = 0.0, units: int = 0) -> Cell:
    return Cell(np.array(seconds), (), sum(seconds), cpu_s, 0.0, units or len(seconds), "nobody")


def row(limit: Limit | None, *values: float, unit: str = "×", reach: Limit | None = None) -> Row:
    return Row("it", Spread.of(values), unit, "nobody", 3, limit, reach)


@pytest.mark.parametrize(
    ("limit", "value", "verdict"),
    [
        (at_most(1.9), 1.9, "met"),
        (at_most(1.9), 1.91, "missed"),
        (below(10), 10.0, "missed"),
        (below(10), 9.99, "met"),
        (at_least(3.5), 3.5, "met"),
        (at_least(3.5), 3.4, "missed"),
    ],
)
def test_a_figure_is_met_or_missed_by_its_median(limit: Limit, value: float, verdict: str) -> None:
    assert row(limit, 0.0, value, 100.0).verdict == verdict


def test_what_must_be_and_what_is_hoped_for_are_judged_apart() -> None:
    judged = row(at_most(2.0), 1.8, reach=at_most(1.5))
    assert (judged.verdict, judged.reached) == ("met", "missed")
    assert row(None, 1.8).verdict == ""


def test_a_ratio_is_taken_within_each_round() -> None:
    ours = [cell(4.0), cell(9.0), cell(2.0)]
    echo = [cell(1.0), cell(3.0), cell(1.0)]
    assert ratios(ours, echo, lambda c: c.ms(50)) == Spread(3.0, 2.0, 4.0)


def test_percentiles_pool_the_calls_of_all_rounds_and_cpu_is_by_unit() -> None:
    found = summary([cell(0.001, cpu_s=0.3, units=100), cell(0.002, 0.003, cpu_s=0.1, units=100)], "our ")
    assert found["our p50 ms"] == pytest.approx(2.0)
    assert found["our CPU µs"] == pytest.approx(2000.0)
    assert "our store CPU µs" not in found


def test_a_table_shows_median_range_and_verdict() -> None:
    assert figure(row(None, 1.85, 1.8, 1.913)) == "1.85× (1.80 to 1.91)"
    assert figure(row(None, 1234.5, unit="B")) == "1,234 B"
    assert "| it | 2.10× | ≤ 1.9×: missed |" in markdown([row(at_most(1.9), 2.1)])
