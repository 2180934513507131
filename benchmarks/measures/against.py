"""A whole decision from ids, beside what a team builds in an afternoon (`benchmarks/baseline/app.py`), which keeps and logs nothing."""

from __future__ import annotations

import json

from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks import people, servers
from benchmarks.cells import Cell, Kind, Rounds, spread
from benchmarks.load import BenchmarkError, Load, Message
from benchmarks.measures.batches import batching
from benchmarks.measures.floor import scoring
from benchmarks.rows import Limit, Row, at_least, cpu_against
from benchmarks.site import Site

IN_FLIGHT = 16
BASELINE = "baseline"
TARGETS: dict[str, tuple[Limit | None, Limit]] = {
    "Score, 16 in flight": (at_least(3.5), at_least(4.5)),
    "BatchScore, 100 a call": (None, at_least(12)),
}


def measure(site: Site) -> Rounds[list[Row]]:
    """Decisions for a CPU second, against the baseline's, both with durable settings of the store."""
    server, scores = site.ooml, site.scores()
    posts = [_post(message) for message in scores]
    site.tell("starting the baseline")
    with servers.baseline(site.folder / "baseline", site.feast("baseline")) as app:

        def decide(calls: int) -> Cell:
            cell = site.send(app, Load(posts, calls, IN_FLIGHT, protocol="http"))
            if {len(json.loads(reply)["ranking"]) for reply in cell.replies} != {people.CANDIDATES}:
                raise BenchmarkError("the baseline did not rank all candidates")
            return cell

        single, batched = TARGETS
        kinds = {
            BASELINE: Kind(decide),
            single: Kind(scoring(site, server, scores, IN_FLIGHT)),
            batched: Kind(batching(site, server, scores), least=4),
        }
        cells = yield from spread(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    theirs = cells[BASELINE]
    they = "Feast's SDK, FastAPI, LinUCB in the process and JSON on disk"
    return [
        cpu_against(f"decisions for a CPU second, {what}, against {they}", cells[what], theirs, BASELINE, must, reach, of_theirs=True)
        for what, (must, reach) in TARGETS.items()
    ]


def _post(message: Message) -> Message:
    """The same question, as the baseline understands it."""
    request = pb.ScoreRequest.FromString(message.body)
    asked = {"user_id": request.entities["user_id"], "tasks": [candidate.id for candidate in request.candidates]}
    return Message("/decide", json.dumps(asked).encode())
