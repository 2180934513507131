"""How long a Score takes under load: at saturation, at half of it, and on the way there."""

from __future__ import annotations

from benchmarks.cells import Cell, Rounds
from benchmarks.load import Load
from benchmarks.measures.floor import check_scores
from benchmarks.rows import Limit, Row, Spread, below, calls_of, summary
from benchmarks.servers import Server
from benchmarks.site import Site

IN_FLIGHT, CONNECTIONS = 64, 8
LONGER = 4
"""Times a measurement is longer than others: a percentile of few calls says little."""

SATURATED, HALF = "at saturation, 64 in flight", "at half the saturation rate, calls at random moments"
BOUND = "an echo that reads and writes once, at that rate too"
TARGETS: dict[str, tuple[Limit, Limit]] = {SATURATED: (below(50), below(30)), HALF: (below(10), below(5))}


def measure(site: Site) -> Rounds[list[Row]]:
    """p99 at saturation and at half of that rate, taken anew in each round; then latency against load, for the plot.

    What the machine allows at that rate is told beside it: by the echo that waits for the same store and does nothing else.
    """
    server, scores = site.ooml, site.scores()
    cell_s = LONGER * site.sizes.cell_s

    def saturated(calls: int) -> Cell:
        cell = site.send(server, Load(scores, calls, IN_FLIGHT, CONNECTIONS))
        check_scores(cell)
        return cell

    def at(rate: float, seed: int, asked: Server = server) -> Cell:
        return site.send(asked, Load(scores, max(32, round(cell_s * rate)), IN_FLIGHT, CONNECTIONS, rate=rate, seed=seed))

    cells: dict[str, list[Cell]] = {SATURATED: [], HALF: [], BOUND: []}
    last = saturated(4 * IN_FLIGHT)
    for r in range(site.sizes.rounds):  # always in this order: the one says what half is, and the machine may be another by the next round
        last = saturated(max(IN_FLIGHT, round(cell_s * _rate(last))))
        cells[SATURATED].append(last)
        half = 0.5 * _rate(last)
        cells[HALF].append(at(half, r + 1))
        cells[BOUND].append(at(half, r + 1, site.waiting_echo))
        site.tell(f"round {r + 1} of {site.sizes.rounds}")
        if r + 1 < site.sizes.rounds:
            yield
    rows = [_row(f"p99 of Score, {what}", cells[what], must, reach) for what, (must, reach) in TARGETS.items()]
    rows.append(_row(f"p99 of {BOUND}", cells[BOUND]))
    for part in site.sizes.rates:
        site.tell(f"{part:.0%} of saturation")
        rate = part * _rate(last)
        rows.append(_row(f"p99 of Score, at {part:.0%} of the saturation rate", [at(rate, site.sizes.rounds + 1)], x=rate))
    found = cells[SATURATED]
    saturation = Spread.of(list(map(_rate, found)))
    return [*rows, Row("Scores a second at saturation, one worker", saturation, "/s", found[0].generator, calls_of(found))]


def _rate(cell: Cell) -> float:
    """Calls a second that were answered."""
    return len(cell.seconds) / cell.wall_s


def _row(what: str, cells: list[Cell], must: Limit | None = None, reach: Limit | None = None, x: float | None = None) -> Row:
    p99 = Spread.of([cell.ms(99) for cell in cells])
    return Row(what, p99, "ms", cells[0].generator, calls_of(cells), must, reach, summary(cells), x=x)
