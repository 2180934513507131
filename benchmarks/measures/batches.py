"""What calling together saves: BatchScore and ScoreStream beside as many single Scores, and what they could come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks import people
from benchmarks.cells import Cell, Kind, Rounds, spread
from benchmarks.load import BenchmarkError, Load, Message
from benchmarks.measures.floor import DEAREST, check_scores, scoring
from benchmarks.rows import Limit, Row, Spread, at_least, calls_of, cpu_against, summary
from benchmarks.servers import Server
from benchmarks.site import BATCH, Site

IN_FLIGHT = 16
TARGETS: dict[str, tuple[Limit, Limit]] = {
    "BatchScore, 100 a call, 1 in flight": (at_least(2.5), at_least(4)),
    "ScoreStream, 16 in flight": (at_least(1.4), at_least(2)),
}


def measure(site: Site) -> Rounds[list[Row]]:
    """Decisions for a CPU second of the worker, against single Scores with 16 in flight."""
    server, scores = site.ooml, site.scores()
    streamed = [Message(people.STREAM, body) for _, body in scores]

    def stream(calls: int) -> Cell:
        cell = site.send(server, Load(streamed, calls, IN_FLIGHT, protocol="stream"))
        check_scores(cell)
        return cell

    alone, echo, echo_stream, *others = "Score", "echo", "echo, ScoreStream", *TARGETS
    kinds = {
        alone: Kind(scoring(site, server, scores, IN_FLIGHT)),
        others[0]: Kind(batching(site, server, scores), least=4),
        others[1]: Kind(stream),
        echo: Kind(lambda calls: site.send(site.echo, Load(scores, calls, IN_FLIGHT))),
        echo_stream: Kind(lambda calls: site.send(site.echo, Load(streamed, calls, IN_FLIGHT, protocol="stream"))),
    }
    cells = yield from spread(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    rows = [
        cpu_against(
            f"decisions for a CPU second, {what}, against single Scores", cells[what], cells[alone], "alone", must, reach, of_theirs=True
        )
        for what, (must, reach) in TARGETS.items()
    ]
    batch, streaming = rows
    return [batch, at_dearest(cells[others[0]], cells[echo]), streaming, at_best(cells[alone], cells[echo], cells[echo_stream])]


def at_dearest(batched: Sequence[Cell], echo: Sequence[Cell]) -> Row:
    """What BatchScore would come to if a single Score cost all it may: the cheaper one is, the less there is for a batch to save."""
    rounds = zip(batched, echo, strict=True)
    return Row(
        what=f"the same of BatchScore, against single Scores that cost all they may, {DEAREST.value:g} times the echo",
        figure=Spread.of([DEAREST.value * call.cpu_us / batch.cpu_us for batch, call in rounds]),
        unit="×",
        generator=batched[0].generator,
        calls=calls_of(batched),
        beside=summary(batched) | summary(echo, "echo "),
    )


def at_best(alone: Sequence[Cell], echo: Sequence[Cell], streamed: Sequence[Cell]) -> Row:
    """What ScoreStream would come to if a Score cost so much less in a stream as an echo does, which is all that a stream can take off."""
    rounds = zip(alone, echo, streamed, strict=True)
    return Row(
        what=f"the same of a ScoreStream, {IN_FLIGHT} in flight, that saved all that an echo saves by streaming",
        figure=Spread.of([score.cpu_us / (score.cpu_us - (call.cpu_us - item.cpu_us)) for score, call, item in rounds]),
        unit="×",
        generator=streamed[0].generator,
        calls=calls_of(streamed),
        beside=summary(streamed, "echo's stream ") | summary(echo, "echo "),
    )


def batching(site: Site, server: Server, scores: list[Message]) -> Callable[[int], Cell]:
    """Sends so many batches, and sees that every request of each was decided."""
    batches = together(scores)

    def batch(calls: int) -> Cell:
        cell = site.send(server, Load(batches, calls, distinct=True), units=BATCH)
        check_batches(cell)
        return cell

    return batch


def together(scores: list[Message]) -> list[Message]:
    """Batches of 100, each beginning with another request."""
    requests = [pb.ScoreRequest.FromString(body) for _, body in scores]
    firsts = range(0, len(requests), max(1, len(requests) // 30))
    batches = [[requests[(first + i) % len(requests)] for i in range(BATCH)] for first in firsts]
    return [Message(people.BATCH, pb.BatchScoreRequest(requests=batch).SerializeToString()) for batch in batches]


def check_batches(cell: Cell) -> None:
    """Every request of every batch was decided.

    Raises:
        BenchmarkError: it was not.
    """
    for reply in cell.replies:
        results = pb.BatchScoreResponse.FromString(reply).results
        if len(results) != BATCH or not all(result.response.decision_id for result in results):
            raise BenchmarkError("a Score of a batch was refused")
