"""Evidence from the log alone: what every arm's sums must be, by the definition in `policies.evidence`, a batch of rows at a time.

A term that was logged at t for a decision made at s weighs 2^((min(s, t) - as_of) / half-life) in a row that stands for as_of; without a
half-life, 1. So the order in which rows are read does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from events.columns import TIME
from events.log import Log
from policies.evidence import AS_OF, COUNT, MICROSECONDS, VERSION, WEIGHT
from policies.types import HEADER, ArmId, Floats, Ints, Namespace, ScopeId, triangle

FILLED = "filled"
TAUGHT = ("evidence", FILLED)
"""Kinds of rows that are terms of evidence: learned when it happened, or worked out later for another namespace."""
NUMBERS = ("recorded_at", "decided_at", "grew", "value_before", "value_after")
COLUMNS = ("policy", "namespace", "scope", "arm", "x", *NUMBERS)
NEVER = np.iinfo(np.int64).max
_AT_ONCE = 4_000_000
"""Numbers worked on at a time."""

ScopeArm = tuple[ScopeId, ArmId]
Until = Callable[[Namespace, ScopeArm], tuple[int, int]]
"""Up to which times, in microseconds, what an arm was taught counts, and what ended its scope."""


def always(namespace: Namespace, arm: ScopeArm) -> tuple[int, int]:
    """Everything counts."""
    return NEVER, NEVER


class Forgotten(NamedTuple):
    """Of a scope: when, in microseconds since the epoch, and how often it had been by then."""

    at_us: int
    generation: int


class Ends(NamedTuple):
    """When scopes were forgotten and dropped: what was logged up to then is over.

    Args:
        forgotten: by policy and scope, in order.
        dropped: by namespace and scope, in order; microseconds since the epoch.
    """

    forgotten: Mapping[tuple[str, str], Sequence[Forgotten]]
    dropped: Mapping[tuple[str, str], Sequence[int]]

    @classmethod
    def of(cls, log: Log) -> Ends:
        """As the log tells.

        Raises:
            TableUnavailable.
        """
        forgotten: defaultdict[tuple[str, str], list[Forgotten]] = defaultdict(list)
        dropped: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        columns = ("kind", "policy", "namespace", "scope", "recorded_at", "generation")
        for kind, policy, namespace, scope, at, generation in sorted(rows_in(log.table(("forgotten", "dropped"), columns)), key=_time):
            if kind == "forgotten":
                forgotten[policy, scope].append(Forgotten(at, generation))
            else:
                dropped[namespace, scope].append(at)
        return cls(forgotten, dropped)

    def before(self, policy: str, namespace: str, scope: str, until: int = NEVER) -> int:
        """The last end of a scope up to a time; -1: there is none."""
        ends = (*(end.at_us for end in self.forgotten.get((policy, scope), ())), *self.dropped.get((namespace, scope), ()))
        return max((at for at in ends if at <= until), default=-1)


class Sums:
    """The evidence of one namespace, arm by arm.

    Args:
        dimension: of its vectors.
        half_life_s: in which a term loses half its weight; None: never.
    """

    def __init__(self, dimension: int, half_life_s: float | None) -> None:
        self.dimension = dimension
        self.half_life_s = half_life_s
        self.arms: dict[ScopeArm, int] = {}
        self._pairs = np.triu_indices(dimension)
        self._width = HEADER + dimension + triangle(dimension)
        self._rows = np.zeros((0, self._width))
        self._sizes = np.zeros((0, 2 + dimension))
        self._counts = np.zeros((0, 2), np.int64)

    @property
    def rows(self) -> Floats:
        """(arms, 6 + d + d(d+1)/2) as `policies.types.Evidence` has them; in place of ``version`` how many terms were added."""
        return self._rows[: len(self.arms)]

    @property
    def sizes(self) -> Floats:
        """(arms, 2 + d) the same for Σr, Σr² and b, if every term were added without its sign: what their rounding is measured by."""
        return self._sizes[: len(self.arms)]

    def open(self, arm: ScopeArm, after: int, until: int) -> int:
        """A new arm's place among the rows. It counts what is logged later than ``after``, up to ``until``."""
        place = self.arms[arm] = len(self.arms)
        if place == len(self._rows):
            more = max(64, place)
            self._rows = np.concatenate([self._rows, np.zeros((more, self._width))])
            self._sizes = np.concatenate([self._sizes, np.zeros((more, 2 + self.dimension))])
            self._counts = np.concatenate([self._counts, np.zeros((more, 2), np.int64)])
        self._counts[place] = after, until
        return place

    def add(self, places: Ints, rows: Mapping[str, NDArray[Any]], x: Floats) -> None:
        """Add terms.

        Args:
            places: (n,) of each term's arm, in ascending order.
            rows: (n,) of each of the columns `NUMBERS`; times in microseconds.
            x: (n, d).
        """
        step = max(256, _AT_ONCE // self._width)
        for first in range(0, len(places), step):
            part = slice(first, first + step)
            self._add(places[part], {name: column[part] for name, column in rows.items()}, x[part])

    def _add(self, places: Ints, rows: Mapping[str, NDArray[Any]], x: Floats) -> None:
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        mine = places[starts]
        at = rows["recorded_at"]
        after, until = self._counts[places].T
        keep = (at > after) & (at <= until)
        weight = keep.astype(np.float64)
        self._decay(mine, np.maximum.reduceat(np.where(keep, at, 0), starts))
        if self.half_life_s is not None:
            age = np.minimum(rows["decided_at"], at) - self._rows[places, AS_OF]
            weight *= np.exp2(np.minimum(age, 0.0) / (self.half_life_s * MICROSECONDS))
        old, new, grew = rows["value_before"], rows["value_after"], weight * rows["grew"]
        change = np.stack([new - old, new * new - old * old])
        i, j = self._pairs
        columns = np.ascontiguousarray(x.T)
        taught = np.concatenate([weight * change, weight * change[0] * columns])
        grown = grew * columns[i] * columns[j]
        sums = self._rows
        sums[mine, VERSION] += np.add.reduceat(keep, starts, dtype=np.float64)
        sums[mine, COUNT] += np.add.reduceat(keep * rows["grew"], starts, dtype=np.float64)
        sums[mine, WEIGHT] += np.add.reduceat(grew, starts)
        sums[mine, WEIGHT + 1 : HEADER + self.dimension] += np.add.reduceat(taught, starts, axis=1).T
        sums[mine, HEADER + self.dimension :] += np.add.reduceat(grown, starts, axis=1).T
        self._sizes[mine] += np.add.reduceat(np.abs(taught), starts, axis=1).T

    def _decay(self, places: Ints, as_of: Ints) -> None:
        """Let rows stand for a later time, where it is later."""
        later = np.maximum(self._rows[places, AS_OF], as_of)
        if self.half_life_s is not None:
            kept = np.exp2((self._rows[places, AS_OF] - later) / (self.half_life_s * MICROSECONDS))[:, None]
            self._rows[places, WEIGHT:] *= kept
            self._sizes[places] *= kept
        self._rows[places, AS_OF] = later


class Recount:
    """Evidence by namespace, from rows of the log as they are read.

    Args:
        half_lives: in seconds, by namespace, None: never forgets. Rows of a namespace that is not among them are set aside.
        ends: of scopes.
        until: up to when what is logged counts.
    """

    def __init__(self, half_lives: Mapping[Namespace, float | None], ends: Ends, until: Until = always) -> None:
        self.sums: dict[Namespace, Sums] = {}
        self.unknown: dict[Namespace, int] = {}
        """Rows of namespaces whose half-life is not known."""
        self._half_lives = half_lives
        self._ends = ends
        self._until = until

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows of `TAUGHT`, in the columns `COLUMNS`.

        Raises:
            ValueError: vectors of one namespace have different lengths, which no writer of this version writes.
        """
        namespaces = batch["namespace"].dictionary_encode()
        codes = namespaces.indices.to_numpy(zero_copy_only=False)
        for code, name in enumerate(namespaces.dictionary.to_pylist()):
            rows = np.flatnonzero(codes == code)
            if name in self._half_lives:
                self._add(name, batch.take(pa.array(rows)) if len(rows) < batch.num_rows else batch)
            else:
                self.unknown[name] = self.unknown.get(name, 0) + len(rows)

    def _add(self, namespace: Namespace, batch: pa.RecordBatch) -> None:
        x = _matrix(namespace, batch["x"])
        sums = self.sums.setdefault(namespace, Sums(x.shape[1], self._half_lives[namespace]))
        if x.shape[1] != sums.dimension:
            raise ValueError(f"the log's vectors of namespace {namespace} have {sums.dimension} numbers, and {x.shape[1]}")
        policy = batch["policy"][0].as_py()
        arms, which = _grouped(batch)
        places = np.array([self._place(sums, policy, namespace, arm) for arm in arms])[which]
        order = np.argsort(places, kind="stable")
        sums.add(places[order], {name: numbers(batch[name])[order] for name in NUMBERS}, x[order])

    def _place(self, sums: Sums, policy: str, namespace: Namespace, arm: ScopeArm) -> int:
        place = sums.arms.get(arm)
        if place is None:
            until, ends_until = self._until(namespace, arm)
            place = sums.open(arm, self._ends.before(policy, namespace, arm[0], ends_until), until)
        return place


def recount(log: Log, half_lives: Mapping[Namespace, float | None], until: Until = always, where: pc.Expression | None = None) -> Recount:
    """The evidence of a whole log.

    Raises:
        TableUnavailable, ValueError.
    """
    found = Recount(half_lives, Ends.of(log), until)
    for batch in log.batches(TAUGHT, COLUMNS, where=where):
        found.add(batch)
    return found


def _time(row: Sequence[Any]) -> int:
    """Of a row that `Ends` reads."""
    at: int = row[4]
    return at


def rows_in(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Row by row; times in microseconds."""
    columns = (column.cast(pa.int64()) if column.type == TIME else column for column in table.columns)
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _grouped(batch: pa.RecordBatch) -> tuple[list[ScopeArm], Ints]:
    """The distinct arms of some rows, and which of them each row is of."""
    scopes, arms = batch["scope"].dictionary_encode(), batch["arm"].dictionary_encode()
    names, width = arms.dictionary.to_pylist(), len(arms.dictionary)
    pairs, which = np.unique(numbers(scopes.indices) * width + numbers(arms.indices), return_inverse=True)
    of_scope = scopes.dictionary.to_pylist()
    return [(of_scope[pair // width], names[pair % width]) for pair in pairs.tolist()], which


def _matrix(namespace: Namespace, vectors: pa.Array) -> Floats:
    sizes = np.unique(numbers(pc.list_value_length(vectors)))
    if len(sizes) != 1:
        raise ValueError(f"the log's vectors of namespace {namespace} have {', '.join(map(str, sizes))} numbers; all must have as many")
    return numbers(vectors.flatten()).reshape(len(vectors), int(sizes[0]))


def numbers(column: pa.Array) -> NDArray[Any]:
    """A column without nulls; times in microseconds."""
    whole = column.cast(pa.int64()) if not pa.types.is_floating(column.type) and not pa.types.is_boolean(column.type) else column
    found: NDArray[Any] = whole.to_numpy(zero_copy_only=False)
    return found
