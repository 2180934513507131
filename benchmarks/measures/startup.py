"""Cold start of `ooml serve`, and what a worker's memory comes to after a million requests."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from ooml.bandit.v1 import bandit_pb2 as pb

from benchmarks import servers
from benchmarks.copies import copy
from benchmarks.load import Load
from benchmarks.measures.batches import check_batches, together
from benchmarks.rows import Row, Spread, at_most, below
from benchmarks.site import BATCH, Site

ALONE = 0.1
"""Part of the requests that come one by one; the others come in batches, to be done in minutes."""

STEPS = 10
MOST_S = 600.0
"""After which the run ends with as many requests as there were."""


def measure(site: Site) -> list[Row]:
    """Seconds from nothing to the first decision; a worker's memory, and whether it grows."""
    site.ooml  # noqa: B018  publishes the plan that is current
    return [_cold(site), *_memory(site)]


def _cold(site: Site) -> Row:
    request = pb.ScoreRequest.FromString(site.scores()[0].body)
    watching = {**site.feast("startup"), "OOML_FEATURE_REPO": str(servers.ROOT / "feature_repo")}
    took = []
    for r in range(site.sizes.rounds):
        began = time.monotonic()
        with servers.serve([site.store], site.folder / "startup.log", seed=site.seed, environment=watching) as server:
            servers.wait_scoring(server, request)
            took.append(time.monotonic() - began)
        site.tell(f"start {r + 1} of {site.sizes.rounds}")
    what = "cold start of `ooml serve` with a current plan, to its first decision"
    return Row(what, Spread.of(took), "s", "", len(took), below(3), below(1.5))


def _memory(site: Site) -> list[Row]:
    scores = site.scores()
    singles, batches = Load(scores, 0, in_flight=16), Load(together(scores), 0, in_flight=2, distinct=True)
    generators = set()
    resident: list[float] = []
    made = 0
    with ExitStack() as stack:
        # What a worker keeps does not depend on what its store keeps: no append-only file of gigabytes is written for it.
        store = stack.enter_context(servers.store(site.folder / "memory", {"appendonly": "no"}))
        copy(site.redis, store)
        server = stack.enter_context(servers.serve([store], site.folder / "memory.log", seed=site.seed))
        deadline = time.monotonic() + MOST_S
        for _ in range(STEPS):
            alone = round(ALONE * site.sizes.requests / STEPS)
            calls = max(1, round((1 - ALONE) * site.sizes.requests / STEPS / BATCH))
            generators.add(site.send(server, replace(singles, calls=alone)).generator)
            cell = site.send(server, replace(batches, calls=calls), units=BATCH)
            check_batches(cell)
            made += alone + calls * BATCH
            resident.append(server.workers[0].memory_info().rss / 1e6)
            site.tell(f"{made:,} requests, {resident[-1]:.0f} MB")
            if time.monotonic() > deadline:
                break
    note = f"{ALONE:.0%} by Score, the rest by BatchScore; after each tenth: {', '.join(f'{mb:.0f}' for mb in resident)}"
    generator = ", ".join(sorted(generators))
    return [
        Row(
            f"a worker's memory after up to {site.sizes.requests:,} requests",
            Spread.of([resident[-1]]),
            "MB",
            generator,
            made,
            below(150),
            below(100),
            note=note,
        ),
        Row(
            "the same against what it was after the first tenth",
            Spread.of([resident[-1] / resident[0]]),
            "×",
            generator,
            made,
            at_most(1.1),
        ),
    ]
