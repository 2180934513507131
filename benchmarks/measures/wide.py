"""A wide policy that everyone shares: 64 numbers sent by callers, 26 arms, one scope; nine Scores to a Reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks import people, servers
from benchmarks.cells import Cell, Kind, Rounds, spread
from benchmarks.load import BenchmarkError, Load, Message
from benchmarks.rows import Row, at_most, cpu_against
from benchmarks.servers import Server
from benchmarks.site import Site

POLICIES = servers.ROOT / "benchmarks" / "policies"
POLICY, DIMENSION, ARMS = "bench_wide", 64, 26
IN_FLIGHT, MESSAGES, TAUGHT = 16, 200, 400
REWARD_EVERY = 10


def measure(site: Site) -> Rounds[list[Row]]:
    """CPU of the mix, against the echo of the same messages."""
    server, echo, scores = site.ooml, site.echo, taught(site)
    kinds = {what: Kind(lambda calls, what=what: _run(site, what, scores, calls)) for what in (server, echo)}  # type: ignore[misc]
    cells = yield from spread(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
    what = f"server CPU, one scope for all, d = {DIMENSION}, {ARMS} arms, 10 % rewards, {IN_FLIGHT} in flight, against the echo"
    return [cpu_against(what, cells[server], cells[echo], "echo", at_most(2.4), at_most(2.0))]


def taught(site: Site) -> list[Message]:
    """Scores under the policy, which is live from then on; every arm has evidence, as it has in life."""
    server, scores = site.ooml, _scores()
    servers.apply(POLICIES, site.store.url)
    servers.wait_scoring(server, pb.ScoreRequest.FromString(scores[0].body))
    decisions = site.decisions(server, scores, TAUGHT)
    rewards = [Message(people.REWARD, pb.RewardRequest(decision_id=d, value=k % 2).SerializeToString()) for k, d in enumerate(decisions)]
    site.send(server, Load(rewards, len(rewards), IN_FLIGHT, distinct=True))
    return scores


def _run(site: Site, server: Server, scores: Sequence[Message], calls: int) -> Cell:
    decisions = site.decisions(site.ooml, scores, calls // REWARD_EVERY)
    rewards = [Message(people.REWARD, pb.RewardRequest(decision_id=d, value=1.0).SerializeToString()) for d in decisions]
    messages = [rewards[k // REWARD_EVERY] if k % REWARD_EVERY == REWARD_EVERY - 1 else scores[k % len(scores)] for k in range(calls)]
    cell = site.send(server, Load(messages, calls, IN_FLIGHT, distinct=True))
    _check(cell)
    return cell


def _check(cell: Cell) -> None:
    rewards = cell.replies[REWARD_EVERY - 1 :: REWARD_EVERY]
    if any(pb.RewardResponse.FromString(reply).status != pb.REWARD_STATUS_APPLIED for reply in rewards):
        raise BenchmarkError("a reward was not counted")


def _scores() -> list[Message]:
    rng = np.random.default_rng(1)
    candidates = [pb.Candidate(id=f"arm-{arm:02d}") for arm in range(ARMS)]
    contexts = rng.normal(size=(MESSAGES, DIMENSION)) / np.sqrt(DIMENSION)
    return [
        Message(
            people.SCORE,
            pb.ScoreRequest(
                policy=POLICY, context={f"f{i:02d}": float(value) for i, value in enumerate(context)}, candidates=candidates
            ).SerializeToString(),
        )
        for context in contexts
    ]
