"""How many people there are: whether a Score costs more among a million of them, and what each takes of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import redis

from benchmarks import people, servers, state
from benchmarks.cells import Kind, alternate
from benchmarks.copies import copy
from benchmarks.load import Message
from benchmarks.measures.floor import scoring
from benchmarks.rows import Row, Spread, at_most, below, cpu_against, cpu_by
from benchmarks.servers import Server
from benchmarks.site import Site
from policies.types import Namespace, PolicyName, ScopeId
from serving.ids import parse_decision_id

IN_FLIGHT = 16
ASKED = 2_000
"""Different people the calls are about, anyone of those there are."""

DIMENSION = 5
OPEN_EACH = (1, 10)
"""Open decisions of a person, when their bytes are counted."""
OPENED = 10
"""And how many are counted for each person of the smallest town: of a thousand, runs made 188 and 360 bytes."""


@dataclass(frozen=True, slots=True)
class Town:
    """A server whose store knows so many people.

    Args:
        bytes_each: of Redis, for a person without open decisions.
    """

    size: int
    server: Server
    client: redis.Redis
    bytes_each: float

    def scores(self, site: Site) -> list[Message]:
        """Score about people drawn from all there are, with tasks of the sample."""
        drawn = np.random.default_rng(1).integers(0, self.size, min(ASKED, self.size))
        users = site.sizes.users
        requests = (people.request(i % users, users, scope=state.person(int(n))) for i, n in enumerate(drawn))
        return [Message(people.SCORE, request.SerializeToString()) for request in requests]


def measure(site: Site) -> list[Row]:
    """CPU of a Score by number of people, flat or not; bytes of Redis for a person, and for an open decision."""
    namespace = _namespace(site)
    with ExitStack() as stack:
        towns = [stack.enter_context(_town(site, size, namespace)) for size in site.sizes.people]
        kinds = {town.size: Kind(scoring(site, town.server, town.scores(site), IN_FLIGHT)) for town in towns}
        cells = alternate(kinds, site.sizes.rounds, site.sizes.cell_s, site.tell)
        opened = [_open_decisions(site, towns[0], namespace, each) for each in OPEN_EACH]
    smallest = cells[towns[0].size]
    flat = [
        cpu_against(
            f"server CPU of Score, {town.size:,} people with evidence against the fewest", cells[town.size], smallest, "", at_most(1.15)
        )
        for town in towns[1:]
    ]
    largest = towns[-1]
    person = Row(
        f"Redis for a person, one arm, d = {DIMENSION}, of {largest.size:,}",
        Spread.of([largest.bytes_each]),
        "B",
        "",
        0,
        below(500),
        beside={f"of {town.size:,} B": town.bytes_each for town in towns[:-1]},
    )
    points = [cpu_by(f"server CPU of Score, {town.size:,} people with evidence", cells[town.size], town.size) for town in towns]
    return [*flat, person, *opened, *points]


@contextmanager
def _town(site: Site, size: int, namespace: Namespace) -> Iterator[Town]:
    site.tell(f"seeding {size:,} people")
    folder = site.folder / f"people-{size}"
    # Filled without an append-only file, which then is written at once: a million writes, each synced, are not what is measured.
    with servers.store(folder, {"appendonly": "no"}) as store, redis.Redis.from_url(store.url) as client:
        copy(site.redis, store)
        before = state.memory(client)
        state.seed(client, PolicyName(people.POLICY), namespace, DIMENSION, map(state.person, range(size)))
        bytes_each = (state.memory(client) - before) / size
        state.keep(client)
        with servers.serve([store], folder / "serve.log", seed=site.seed) as server:
            site.check_features(server)
            yield Town(size, server, client, bytes_each)


def _namespace(site: Site) -> Namespace:
    """Where the policy's evidence lies: every decision's id names it."""
    parsed = parse_decision_id(site.decisions(site.ooml, site.scores(), 1)[0])
    assert parsed is not None  # noqa: S101  the server made it
    return parsed[1]


def _open_decisions(site: Site, town: Town, namespace: Namespace, each: int) -> Row:
    """Bytes of an open decision: its record and its line in the person's list, which so many share."""
    users = site.sizes.users
    count = OPENED * town.size // each
    fresh = [ScopeId(f"fresh-{each}-{n:06d}") for n in range(count)]
    messages = [Message(people.SCORE, people.request(n % users, users, scope=name).SerializeToString()) for n, name in enumerate(fresh)]
    # Everyone is known before it begins, so that only what is open is counted.
    state.seed(town.client, PolicyName(people.POLICY), namespace, DIMENSION, fresh)
    before = state.memory(town.client)
    site.decisions(town.server, messages, count * each)
    bytes_each = (state.memory(town.client) - before) / (count * each)
    return Row(f"Redis for an open decision, {each} a person", Spread.of([bytes_each]), "B", "in batches", count * each, below(500))
