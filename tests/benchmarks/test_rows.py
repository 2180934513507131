from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import docs, plots
from benchmarks.cells import Cell
from benchmarks.kept import Run, runs
from benchmarks.measures.batches import at_best, at_dearest
from benchmarks.profile import shares
from benchmarks.rows import Limit, Row, Spread, at_least, at_most, below, ratios, summary
from benchmarks.table import figure, glance, markdown


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


def test_a_score_in_a_stream_can_save_no_more_than_an_echo_does() -> None:
    score, call, streamed = cell(0.01, cpu_s=300e-6), cell(0.01, cpu_s=160e-6), cell(0.01, cpu_s=100e-6)
    assert at_best([score], [call], [streamed]).figure.median == pytest.approx(300 / 240)


def test_a_batch_is_held_against_single_scores_that_cost_all_they_may() -> None:
    batched, call = cell(0.01, cpu_s=8000e-6, units=100), cell(0.01, cpu_s=160e-6)
    assert at_dearest([batched], [call]).figure.median == pytest.approx(1.9 * 160 / 80)


def test_percentiles_pool_the_calls_of_all_rounds_and_cpu_is_by_unit() -> None:
    found = summary([cell(0.001, cpu_s=0.3, units=100), cell(0.002, 0.003, cpu_s=0.1, units=100)], "our ")
    assert found["our p50 ms"] == pytest.approx(2.0)
    assert found["our CPU µs"] == pytest.approx(2000.0)
    assert "our store CPU µs" not in found


def test_how_late_an_open_loop_began_its_calls_is_told_beside_their_times() -> None:
    late = replace(cell(0.003, 0.004), late_s=np.array([0.0002, 0.0002]))
    assert summary([late])["begun late, p99 ms"] == pytest.approx(0.2)
    assert "begun late, p99 ms" not in summary([cell(0.003)])


def test_a_table_shows_median_range_and_verdict() -> None:
    assert figure(row(None, 1.85, 1.8, 1.913)) == "1.85× (1.80 to 1.91)"
    assert figure(row(None, 1234.5, unit="B")) == "1,234 B"
    assert "| it | 2.10× | ≤ 1.9×: missed |" in markdown([row(at_most(1.9), 2.1)])


def test_at_a_glance_what_is_judged_stands_once_and_each_run_in_a_column() -> None:
    judged = row(at_most(1.9), 1.85, 1.8, 1.913, reach=at_most(1.6))
    missed, told = row(at_most(1.9), 2.1), replace(row(None, 7.0), what="only told")
    kept = replace(row(at_least(50_000), 52_666.4, unit="/s"), what="only here")
    assert glance({"here": [judged, told, kept], "there": [missed]}).splitlines() == [
        "| measure | must | reach | `here` | `there` |",
        "|---|---|---|---|---|",
        "| it | ≤ 1.9× | ≤ 1.6× | 1.85× | **2.10× missed** |",
        "| only here | ≥ 50,000 /s |  | 52,666 /s |  |",
    ]


TOLD = {
    "at": "2026-01-02T03:04:05+00:00",
    "command": "python -m benchmarks.bench",
    "took_s": 61.2,
    "sizes": {"rounds": 7},
    "machine": {"processor": "a processor", "cores": 2, "system": "Linux"},
    "versions": {"commit": "abcdef0", "store": "valkey 9.1.2"},
}
RUN = Run(TOLD, {"floor": [row(at_most(1.9), 1.8, 1.7, 2.0, reach=below(1.5)), replace(row(None, 3.0), x=1.0, beside={"CPU µs": 2.0})]})


def test_a_run_is_read_as_it_was_written_and_that_of_make_bench_comes_first(tmp_path: Path) -> None:
    for name in ("bench-another", "bench", "part"):
        RUN.write(tmp_path / f"{name}.json")
    kept = runs(tmp_path)
    assert list(kept) == ["bench", "bench-another"]
    assert kept["bench"] == RUN


def test_pages_get_the_verdicts_and_the_rows_of_all_runs_and_keep_all_else(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{docs.BEGIN}\nold\n{docs.END}\nafter\n")
    docs.write(tmp_path, {"bench": RUN, "bench-another": RUN})
    verdicts = glance({"bench": RUN.listed, "bench-another": RUN.listed})
    assert page.read_text() == f"before\n{docs.BEGIN}\n{verdicts}{docs.END}\nafter\n"
    rows = (tmp_path / "performance-rows.md").read_text()
    assert "2026-01-02, commit abcdef0: `python -m benchmarks.bench`, 61 s, 7 rounds.\na processor, 2 cores, Linux, valkey 9.1.2." in rows
    assert rows.count("| it | 1.80× (1.70 to 2.00) | ≤ 1.9×: met | < 1.5×: missed |") == 2


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="verdicts"):
        docs.write(tmp_path, {"bench": RUN})
    assert page.read_text() == "no marks"


def test_pictures_are_drawn_of_what_was_measured(tmp_path: Path) -> None:
    beside = {"p50 ms": 1.0, "p99 ms": 2.0}
    points = [Row("it", Spread.of([x]), "ms", "nobody", 1, beside=beside, x=x) for x in (1.0, 10.0)]
    drawn = plots.save(tmp_path, {"latency": points, "crowd": [*points, row(None, 1.0)], "candidates": []})
    assert [file.name for file in drawn] == ["performance-latency.png", "performance-crowd.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)


def test_a_sample_counts_for_the_innermost_part_that_is_ours_and_waiting_for_nothing() -> None:
    folded = "run (asyncio/runners.py:1);score (serving/service/bandit.py:9);solve (numpy/linalg/linalg.py:2) 3\nmain (threading.py:1) 1\n"
    folded += "poll (serving/main.py:1);epoll_wait (libc.so.6) 99\n"
    assert shares(folded) == {"serving/service: checks, the use case": 0.75, "the rest": 0.25}
