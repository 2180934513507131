"""The rows of the log that say what a version would have learned, from the decisions and rewards of others."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from events import relearn
from events.columns import DAY_US, SCHEMA
from events.identity import ID_BYTES
from events.log import Advance, Log
from events.recompute import FILLED, Ends, rows_in
from events.relearn import Reward, Term, terms, vectors
from policies.types import Floats, Namespace, ScopeId
from serving.ids import shard_of
from serving.ports import PublishedPolicy

_DECIDED = ("decision_id", "scope", "policy_version", "propensity", "recorded_at", "deferred")
_OF_DECISION = ("decision_id", "scope", "policy_version", "propensity", "decided_at", "arm")
_OF_TERM = ("id", "recorded_at", "reward_id", "grew", "value", "value_before", "value_after")
_OF_ALL = ("kind", "policy", "date", "shard", "epoch", "sequence", "namespace", "x")


class Relearner:
    """Turns decisions into what another version would have learned of them.

    Args:
        target: that version.
        sources: versions that made decisions, by namespace.
        log: of what became of them.

    Raises:
        TableUnavailable.
    """

    def __init__(self, target: PublishedPolicy, sources: Mapping[Namespace, PublishedPolicy], log: Log) -> None:
        self._target = target
        self._sources = sources
        self._log = log
        self._ends = Ends.of(log)
        self._where = pc.field("policy") == target.spec.name
        self._opened = dict(self._told("activated", "recorded_at"))
        self._rewards: defaultdict[str, list[Reward]] = defaultdict(list)
        for name, *said in self._told("reward", "recorded_at", "sequence", "reward_id", "value"):
            self._rewards[name].append(Reward(*said))
        self._seen: set[str] = set()
        self.decisions = 0
        """That taught something, so far."""
        self.rejected = 0
        """That the target would have refused to make, so far: it rejects features that are missing."""

    def obstacles(self) -> list[str]:
        """Why it cannot be done; nothing when it can."""
        rules = self._target.spec.reward
        found = [f"{text} (in {name})" for name, source in self._sources.items() for text in relearn.obstacles(self._target, source)]
        outside = sum(not rules.low <= reward.value <= rules.high for rewards in self._rewards.values() for reward in rewards)
        if outside:
            found.append(f"reward.range is [{rules.low:g}, {rules.high:g}]; {outside:,} rewards that were logged lie outside")
        return found

    def rows(self, advance: Advance) -> Iterator[pa.Table]:
        """Rows of `SCHEMA`, a batch at a time.

        Raises:
            TableUnavailable.
        """
        columns = ("namespace", "policy", *_DECIDED, *relearn.COLUMNS)
        for batch in self._log.batches(("decision",), columns, where=self._where, advance=advance):
            for namespace, source in self._sources.items():
                mine = batch.filter(pc.equal(batch["namespace"], namespace))
                if mine.num_rows:
                    yield self._relearned(source, mine)

    def shed(self) -> int:
        """Decisions that taught, though nobody knows from what slate.

        Raises:
            TableUnavailable.
        """
        count = 0
        for batch in self._log.batches(("evidence",), ("namespace", "decision_id", "grew"), where=pc.field("grew")):
            told = zip(batch["namespace"].to_pylist(), batch["decision_id"].to_pylist(), strict=True)
            count += sum(namespace in self._sources and name not in self._seen for namespace, name in told)
        return count

    def _told(self, kind: str, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Of each event of the policy its decision, and some columns."""
        table = self._log.table((kind,), ("decision_id", *columns, "policy"), where=self._where)
        return rows_in(table.drop_columns(["policy"]))

    def _relearned(self, source: PublishedPolicy, batch: pa.RecordBatch) -> pa.Table:
        x, accepted = vectors(self._target, source, batch)
        self.rejected += int(np.count_nonzero(~accepted))
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        places: list[int] = []
        arms = [arms[chosen] for arms, chosen in zip(batch["arms"].to_pylist(), batch["chosen"].to_pylist(), strict=True)]
        for place, (name, scope, *numbers, at, deferred) in enumerate(rows_in(batch.select(_DECIDED))):
            self._seen.add(name)
            opened_at = self._opened.get(name) if deferred else at
            is_over = at <= self._ends.before(self._target.spec.name, source.namespace, scope)
            if opened_at is None or is_over or not accepted[place]:
                continue
            learned = list(terms(self._target.spec.reward, opened_at, sorted(self._rewards.get(name, ()))))
            self.decisions += bool(learned)
            for term in learned:
                places.append(place)
                said = (*zip(_OF_DECISION, (name, scope, *numbers, at, arms[place]), strict=True), *self._said(name, term))
                for column, value in said:
                    columns[column].append(value)
        return self._table(columns, x[places])

    def _said(self, decision_id: str, term: Term) -> Iterator[tuple[str, Any]]:
        reward_id, value = ("", None) if term.reward is None else (term.reward.reward_id, term.reward.value)
        # As what the decision taught its own namespace is told apart, and which namespace besides.
        told_apart = "\0".join((self._target.namespace, decision_id, reward_id, "default" if term.reward is None else "reward"))
        name = hashlib.blake2b(told_apart.encode(), digest_size=ID_BYTES, person=FILLED.encode()).digest()
        return zip(_OF_TERM, (name, term.at_us, reward_id, term.before is None, value, term.before or 0.0, term.after), strict=True)

    def _table(self, columns: Mapping[str, list[Any]], x: Floats) -> pa.Table:
        """No shard counted them: they have no epoch."""
        policy, n = self._target.spec.name, len(x)
        same = {"kind": FILLED, "policy": policy, "namespace": self._target.namespace, "epoch": "", "sequence": 0}
        made: dict[str, Any] = {**columns, **{column: [value] * n for column, value in same.items()}}
        made["date"] = [at // DAY_US for at in columns["recorded_at"]]
        made["shard"] = [shard_of(policy, ScopeId(scope)) for scope in columns["scope"]]
        made["x"] = x.tolist()
        schema = pa.schema([field for field in SCHEMA if field.name in (*_OF_DECISION, *_OF_TERM, *_OF_ALL)])
        rows = pa.Table.from_arrays([pa.array(made[field.name], field.type) for field in schema], schema=schema)
        return pa.concat_tables([SCHEMA.empty_table(), rows], promote_options="default")
