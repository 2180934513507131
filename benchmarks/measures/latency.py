"""How long a Score takes under load: at saturation, at half of it, and on the way there."""

from __future__ import annotations

from benchmarks.cells import Cell, Kind, Rounds, spread
from benchmarks.load import Load
from benchmarks.measures.floor import check_scores
from benchmarks.rows import Limit, Row, Spread, below, calls_of, summary
from benchmarks.site import Site

IN_FLIGHT, CONNECTIONS = 64, 8
LONGER = 4
"""Times a measurement is longer than others: a percentile of few calls says little."""

SATURATED, HALF = "at saturation, 64 in flight", "at half the saturation rate, calls at random moments"
TARGETS: dict[str, tuple[Limit, Limit]] = {SATURATED: (below(50), below(30)), HALF: (below(10), below(5))}


def measure(site: Site) -> Rounds[list[Row]]:
    """p99 at saturation and at half of that rate, taken anew in each round; then latency against load, for the plot."""
    server, scores = site.ooml, site.scores()
    rates: list[float] = []

    def saturated(calls: int) -> Cell:
        cell = site.send(server, Load(scores, calls, IN_FLIGHT, CONNECTIONS))
        rates.append(calls / cell.wall_s)
        check_scores(cell)
        return cell

    def at(part: float, calls: int) -> Cell:
        return site.send(server, Load(scores, calls, IN_FLIGHT, CONNECTIONS, rate=part * rates[-1], seed=len(rates)))

    kinds = {SATURATED: Kind(saturated, least=IN_FLIGHT), HALF: Kind(lambda calls: at(0.5, calls))}
    cells = yield from spread(kinds, site.sizes.rounds, LONGER * site.sizes.cell_s, site.tell)
    rows = [_row(f"p99 of Score, {what}", cells[what], must, reach) for what, (must, reach) in TARGETS.items()]
    saturation = Spread.of(rates[-site.sizes.rounds :])
    rates.append(saturation.median)
    for part in site.sizes.rates:
        site.tell(f"{part:.0%} of saturation")
        cell = at(part, max(32, round(LONGER * site.sizes.cell_s * part * saturation.median)))
        rows.append(_row(f"p99 of Score, at {part:.0%} of the saturation rate", [cell], x=part * saturation.median))
    saturated_cells = cells[SATURATED]
    made = calls_of(saturated_cells)
    return [*rows, Row("Scores a second at saturation, one worker", saturation, "/s", saturated_cells[0].generator, made)]


def _row(what: str, cells: list[Cell], must: Limit | None = None, reach: Limit | None = None, x: float | None = None) -> Row:
    p99 = Spread.of([cell.ms(99) for cell in cells])
    return Row(what, p99, "ms", cells[0].generator, calls_of(cells), must, reach, summary(cells), x=x)
