"""Holds what Redis has learned against what the log says it must have, while both go on changing.

Redis is read first, then the outbox, then the table: whatever had happened by the time a row was read is in what is read after it, and the
row says up to when it counts. What then differs is looked at again; a scope that was being forgotten or dropped meanwhile agrees at the
next look, a mistake does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from events import recompute
from events.columns import KINDS
from events.differences import Difference, differences
from events.gaps import COLUMNS as OF_GAPS
from events.gaps import Gap, Sequences
from events.held import Held, evidence_of, held, still_open
from events.log import Advance, Erased, Log, read
from events.outbox import Look, Outbox
from events.reading import EntryReader, among
from events.recompute import TAUGHT, Ends, Recount, recount
from policies.types import Namespace, PolicyName, ScopeId
from serving.ids import shard_of
from serving.ports import PublishedPolicy
from serving.redis.connect import Client
from serving.redis.keys import keys_of
from serving.redis.published import load
from serving.versions import Published

ATTEMPTS = 10
"""How often it is begun anew because files were erased under it."""
LOOKS = 3
"""How often a difference is seen before it is one."""

Stage = Callable[[str, int | None], Advance]
"""Told what is read next, and how much that is in all, if it is known; returns who is told how much of it was read."""


@dataclass(slots=True)
class Report:
    """What an audit found.

    Args:
        decisions, rewards: in the log.
        arms, scopes: that Redis has evidence of.
        waiting: events among those that are not in the table yet.
        shed: decisions that the log had no room for; what they taught is not lost.
        open: decisions that can still be rewarded.
        unlogged: of those, which the log does not have; as many as were shed may be.
        differences: in evidence.
        gaps: in the numbers that shards count their entries by.
        unpublished: arms in Redis or terms in the log, by namespace, where no published policy has the namespace: they cannot be judged.
        unreadable: entries of the outbox, and why.
    """

    decisions: int = 0
    rewards: int = 0
    arms: int = 0
    scopes: int = 0
    waiting: int = 0
    shed: int = 0
    open: int = 0
    unlogged: Sequence[str] = ()
    differences: Sequence[Difference] = ()
    gaps: Sequence[Gap] = ()
    unpublished: Mapping[Namespace, int] = field(default_factory=dict)
    unreadable: Sequence[str] = ()

    @property
    def lost(self) -> int:
        """Commits that are missing, though nobody was forgotten."""
        return sum(gap.missing - gap.erased for gap in self.gaps)

    @property
    def agrees(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.differences or self.lost or self.unpublished or self.unreadable or len(self.unlogged) > self.shed)


class Auditor:
    """Looks at Redis, the outbox and the table.

    Args:
        client: from `connect`; owned by the caller.
        url: of the table.
        stage: told how far it is.
    """

    def __init__(self, client: Client, url: str, stage: Stage = lambda what, total: lambda count: None) -> None:
        self._client = client
        self._outbox = Outbox(client)
        self._url = url
        self._stage = stage
        self._policies: dict[Namespace, PublishedPolicy] = {}
        self._unreadable: dict[str, None] = {}

    async def run(self) -> Report:
        """Look at everything; and once more, should somebody be erased meanwhile.

        Raises:
            Unavailable, TableUnavailable, ValueError.
        """
        for _ in range(ATTEMPTS - 1):
            with suppress(Erased):
                return await self._run()
        return await self._run()

    async def _run(self) -> Report:
        self._policies = by_namespace(await load(self._client))
        found = await held(self._client, self._stage("reading Redis", None))
        look, log = await self._log()
        ends = Ends.of(log)
        counts = _Counts(found, Recount(self._half_lives, ends, found.until), Sequences(_forgotten_in(ends)))
        for batch in log.batches(tuple(KINDS.values()) + TAUGHT, _COLUMNS, advance=self._stage("reading the log", log.rows)):
            counts.add(batch)
        different = differences(counts.recount, found.evidence, self._policies)
        gaps = counts.sequences.gaps(look.last)
        for _ in range(1, LOOKS):
            different = await self._again(different)
        if any(gap.missing > gap.erased for gap in gaps):
            gaps = await self._gaps()
        return Report(
            decisions=counts.decisions,
            rewards=counts.rewards,
            arms=sum(map(len, found.evidence.values())),
            scopes=len({(namespace, scope) for namespace, rows in found.evidence.items() for scope, _ in rows}),
            waiting=log.waiting,
            shed=counts.shed + look.shed,
            open=len(found.open),
            unlogged=await still_open(self._client, counts.unlogged()),
            differences=different,
            gaps=gaps,
            unpublished=self._unpublished(counts.recount, found),
            unreadable=tuple(self._unreadable),
        )

    @property
    def _half_lives(self) -> dict[Namespace, float | None]:
        return {namespace: policy.spec.half_life_s for namespace, policy in self._policies.items()}

    async def _log(self) -> tuple[Look, Log]:
        return await read(self._outbox, EntryReader(among(self._policies), self._cannot_read), self._url)

    async def _again(self, seen: Sequence[Difference]) -> list[Difference]:
        """Which of the differences are still there."""
        if not seen:
            return []
        scopes = {(d.namespace, d.scope) for d in seen}
        keys = [keys_of(shard_of(d.policy, d.scope)).evidence(d.namespace, d.scope) for d in seen]
        found = await evidence_of(self._client, list(dict.fromkeys(keys)))
        _, log = await self._log()
        where = pc.field("scope").isin(sorted({scope for _, scope in scopes}))
        now = differences(recount(log, self._half_lives, found.until, where), found.evidence, self._policies, scopes)
        arms = {(d.namespace, d.scope, d.arm) for d in seen}
        return [d for d in now if (d.namespace, d.scope, d.arm) in arms]

    async def _gaps(self) -> list[Gap]:
        look, log = await self._log()
        sequences = Sequences(_forgotten_in(Ends.of(log)))
        for batch in log.batches(tuple(KINDS.values()), OF_GAPS):
            sequences.add(batch)
        return sequences.gaps(look.last)

    def _unpublished(self, recount: Recount, found: Held) -> dict[Namespace, int]:
        there = {namespace: len(rows) for namespace, rows in found.evidence.items() if rows and namespace not in self._policies}
        return {**there, **recount.unknown}

    def _cannot_read(self, what: str, *, shard: int, entry: str, error: str) -> None:
        self._unreadable[f"entry {entry} of shard {shard}: {error}"] = None


_COLUMNS = tuple(dict.fromkeys((*recompute.COLUMNS, *OF_GAPS, "kind", "decision_id", "count")))


class _Counts:
    """What is counted in one reading of the log."""

    def __init__(self, found: Held, recount: Recount, sequences: Sequences) -> None:
        self.recount = recount
        self.sequences = sequences
        self.decisions = self.rewards = self.shed = 0
        self._unlogged = set(found.open)

    def add(self, batch: pa.RecordBatch) -> None:
        self.sequences.add(batch)
        kinds = batch["kind"]
        taught = batch.filter(pc.is_in(kinds, pa.array(TAUGHT)))
        if taught.num_rows:
            self.recount.add(taught)
        made = batch["decision_id"].filter(pc.equal(kinds, "decision"))
        self.decisions += len(made)
        self.rewards += pc.sum(pc.equal(kinds, "reward")).as_py() or 0
        self.shed += pc.sum(batch["count"].filter(pc.equal(kinds, "shed"))).as_py() or 0
        self._unlogged.difference_update(made.to_pylist())

    def unlogged(self) -> list[str]:
        return sorted(self._unlogged)


def by_namespace(published: Published) -> dict[Namespace, PublishedPolicy]:
    """A version that uses it, of each namespace."""
    return {version.policy.namespace: version.policy for versions in published.versions.values() for version in versions.values()}


def _forgotten_in(ends: Ends) -> dict[int, int]:
    """When a scope of a shard was forgotten last."""
    found: dict[int, int] = {}
    for (policy, scope), times in ends.forgotten.items():
        shard, at = shard_of(PolicyName(policy), ScopeId(scope)), times[-1].at_us
        found[shard] = max(at, found.get(shard, at))
    return found
