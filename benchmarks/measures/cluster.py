"""Score on a Redis Cluster of three masters, where features lie in other slots than evidence."""

from __future__ import annotations

from benchmarks import servers
from benchmarks.cells import Kind, Rounds, spread
from benchmarks.copies import copy
from benchmarks.load import BenchmarkError, Load
from benchmarks.measures.floor import scoring
from benchmarks.rows import Row, at_most, cpu_against
from benchmarks.site import Site
from cli.embedded import find_server
from tests.servers import cluster

IN_FLIGHT = 16


def measure(site: Site) -> Rounds[list[Row]]:
    """CPU of the worker, against the echo."""
    site.ooml  # noqa: B018  brings up what is copied
    echo, scores = site.echo, site.scores()
    site.tell("starting three masters")
    with cluster(site.folder / "cluster", find_server()) as masters:
        copy(site.redis, masters.nodes[0], cluster=True)
        with servers.serve(masters.nodes, site.folder / "cluster.log", seed=site.seed) as server:
            site.check_features(server)
            kinds = {
                "ours": Kind(scoring(site, server, scores, IN_FLIGHT)),
                "echo": Kind(lambda calls: site.send(echo, Load(scores, calls, IN_FLIGHT))),
            }
            cells = yield from spread(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    ours, theirs = cells["ours"], cells["echo"]
    if any(cell.store_cpu_s <= 0 for cell in ours):
        raise BenchmarkError("the cluster did nothing")
    what = f"server CPU of Score on a cluster of three, {IN_FLIGHT} in flight, against the echo"
    return [cpu_against(what, ours, theirs, "echo", at_most(2.6), at_most(2.2))]
