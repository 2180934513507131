"""A second worker on the same port: whether decisions cost more when they share the work."""

from __future__ import annotations

from benchmarks import servers
from benchmarks.cells import Cell, Kind, alternate
from benchmarks.load import Load
from benchmarks.measures.floor import check_scores
from benchmarks.rows import Row, at_least, calls_of, ratios, summary
from benchmarks.site import Site

IN_FLIGHT, CONNECTIONS = 64, 32
EACH = 0.35
"""Of the rate that saturates a worker: on few cores more would measure how they contend with the generator and the store."""


def measure(site: Site) -> list[Row]:
    """Decisions for a CPU second of all workers, two against one, at the same rate of calls for each worker."""
    site.ooml  # noqa: B018  brings up features and policies
    scores = site.scores()
    rates: list[float] = []
    with (
        servers.serve([site.store], site.folder / "one.log", seed=site.seed) as one,
        servers.serve([site.store], site.folder / "two.log", seed=site.seed, workers=2) as two,
    ):

        def saturated(calls: int) -> Cell:
            cell = site.send(one, Load(scores, calls, IN_FLIGHT, CONNECTIONS))
            rates.append(calls / cell.wall_s)
            return cell

        def capped(server: servers.Server, calls: int) -> Cell:
            rate = EACH * len(server.workers) * rates[-1]
            cell = site.send(server, Load(scores, calls, IN_FLIGHT, CONNECTIONS, rate=rate, seed=len(rates)))
            check_scores(cell)
            return cell

        kinds = {0: Kind(saturated, least=IN_FLIGHT), 1: Kind(lambda calls: capped(one, calls)), 2: Kind(lambda calls: capped(two, calls))}
        cells = alternate(kinds, site.sizes.rounds, 2 * site.sizes.cell_s, site.tell)
    return [
        Row(
            what=f"decisions for a CPU second, two workers against one, {CONNECTIONS} connections, each at {EACH:.0%} of saturation",
            figure=ratios(cells[1], cells[2], lambda cell: cell.cpu_us),
            unit="×",
            generator=cells[2][0].generator,
            calls=calls_of(cells[2]),
            must=at_least(0.9),
            beside=summary(cells[2]) | summary(cells[1], "one "),
        )
    ]
