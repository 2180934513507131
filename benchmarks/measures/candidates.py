"""What one more candidate costs: its features, its score, its line in the reply and in the log."""

from __future__ import annotations

from benchmarks.cells import Kind, alternate
from benchmarks.measures.floor import scoring
from benchmarks.rows import Row, Spread, at_most, below, calls_of, cpu_by
from benchmarks.site import Site

IN_FLIGHT = 8
KNEE = 100
"""Where the slope is taken in two: straight is what goes on beyond as it began."""


def measure(site: Site) -> list[Row]:
    """CPU of a Score by number of candidates; the slope of it, and whether it is straight."""
    counts = site.sizes.candidates
    kinds = {count: Kind(scoring(site, site.ooml, site.scores(count), IN_FLIGHT), least=16) for count in counts}
    cells = alternate(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    first, last = counts[0], counts[-1]
    middle = min(counts, key=lambda count: abs(count - KNEE) if first < count < last else last)

    def slope(r: int, low: int, high: int) -> float:
        return (cells[high][r].cpu_us - cells[low][r].cpu_us) / (high - low)

    rounds = range(site.sizes.rounds)
    generator, made = cells[first][0].generator, sum(map(calls_of, cells.values()))
    bend = [slope(r, middle, last) / slope(r, first, middle) for r in rounds]
    return [
        Row(
            f"server CPU of a further candidate, from {first} to {last}",
            Spread.of([slope(r, first, last) for r in rounds]),
            "µs",
            generator,
            made,
            below(12),
            below(6),
        ),
        Row(
            f"a further candidate beyond {middle}, against one before",
            Spread.of(bend),
            "×",
            generator,
            made,
            at_most(1.25),
            note="near-linear: it goes on as it began",
        ),
        *(cpu_by(f"server CPU of a Score of {count}, {IN_FLIGHT} in flight", cells[count], count) for count in counts),
    ]
