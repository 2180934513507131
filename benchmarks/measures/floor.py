"""Score and Reward beside a bare grpc.aio echo of the same messages: what a decision costs over what the wire alone costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks import people
from benchmarks.cells import Cell, Kind, Rounds, spread
from benchmarks.load import BenchmarkError, Load, Message
from benchmarks.rows import Limit, Row, at_most, calls_of, ratios, summary
from benchmarks.servers import Server
from benchmarks.site import Site
from cli.embedded import DURABLE

REWARDED = pb.RewardResponse(status=pb.REWARD_STATUS_APPLIED, value=1.0).SerializeToString()
NO_DECISION = "0123456789abcdefghijklmnopqrstuvwxyz01"


class What(NamedTuple):
    """One thing measured.

    Args:
        call: of the service.
        in_flight: so many at once.
        fsync: appendfsync of the store that is waited for; None: on the echo, which has none.
        bound: on the echo that waits for a read and a write of that store and does nothing else; not on ooml.
    """

    call: str
    in_flight: int
    fsync: str | None
    bound: bool = False

    @property
    def name(self) -> str:
        """As the table calls it."""
        return "an echo that reads and writes once" if self.bound else self.call


# In this order: what is compared stands together and so runs within seconds.
PLAN = (
    What("Score", 1, None),
    *(What("Score", 1, fsync, bound) for fsync in ("always", "everysec") for bound in (True, False)),
    *(What("Score", 16, fsync) for fsync in (None, "always", "everysec")),
    *(What("Reward", in_flight, fsync) for in_flight in (1, 16) for fsync in (None, "always")),
)

DEAREST = at_most(1.9)
"""What a Score may cost, in an echo's CPU."""
TARGETS: dict[What, tuple[Limit | None, Limit | None]] = {
    What("Score", 16, "everysec"): (DEAREST, at_most(1.6)),
    What("Score", 16, "always"): (DEAREST, at_most(1.6)),
    What("Score", 1, "everysec"): (at_most(2.3), at_most(2.0)),
    What("Score", 1, "everysec", bound=True): (None, None),
    What("Score", 1, "always"): (at_most(3.0), at_most(2.5)),
    What("Score", 1, "always", bound=True): (None, None),
    What("Reward", 16, "always"): (at_most(1.7), at_most(1.5)),
}


def measure(site: Site) -> Rounds[list[Row]]:
    """A row for each of the plan that has a target or bounds one: of CPU with 16 in flight, of p50 with one."""
    kinds = {what: Kind(partial(_run, site, what)) for what in PLAN}
    cells = yield from spread(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    return list(_rows(cells))


def _rows(cells: dict[What, list[Cell]]) -> Iterator[Row]:
    for what, (must, reach) in TARGETS.items():
        ours, echo = cells[what], cells[what._replace(fsync=None, bound=False)]
        alone = what.in_flight == 1
        yield Row(
            what=f"{'p50' if alone else 'server CPU'} of {what.name}, {what.in_flight} in flight, against the echo, {what.fsync}",
            figure=ratios(ours, echo, (lambda cell: cell.ms(50)) if alone else (lambda cell: cell.cpu_us)),
            unit="×",
            generator=ours[0].generator,
            calls=calls_of(ours),
            must=must,
            reach=reach,
            beside=summary(ours) | summary(echo, "echo "),
        )


def _run(site: Site, what: What, calls: int) -> Cell:
    server = site.echo if what.fsync is None else site.waiting_echo if what.bound else site.ooml
    durable = DURABLE["appendfsync"]
    site.redis.config_set("appendfsync", what.fsync or durable)
    try:
        return _sent(site, server, what, calls)
    finally:
        site.redis.config_set("appendfsync", durable)  # as others expect it, who run between two rounds


def _sent(site: Site, server: Server, what: What, calls: int) -> Cell:
    scores = site.scores()
    if what.call == "Score":
        cell = site.send(server, Load(scores, calls, what.in_flight))
        if server is site.ooml:
            check_scores(cell)
        return cell
    decisions = [NO_DECISION] * calls if what.fsync is None else site.decisions(server, scores, calls)
    cell = site.send(server, Load([people.reward(d) for d in decisions], calls, what.in_flight, distinct=True))
    if any(reply != REWARDED for reply in cell.replies):
        raise BenchmarkError("a reward was not counted")
    return cell


def scoring(site: Site, server: Server, scores: Sequence[Message], in_flight: int) -> Callable[[int], Cell]:
    """Sends so many Scores, and sees that each was decided."""

    def score(calls: int) -> Cell:
        cell = site.send(server, Load(scores, calls, in_flight))
        check_scores(cell)
        return cell

    return score


def check_scores(cell: Cell) -> None:
    """Every answer is a decision of its own.

    Raises:
        BenchmarkError: it is not.
    """
    ids = {pb.ScoreResponse.FromString(reply).decision_id for reply in cell.replies}
    if len(ids) != len(cell.replies) or "" in ids:
        raise BenchmarkError(f"{len(cell.replies)} calls of Score made {len(ids)} decisions")
