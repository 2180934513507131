"""Which ids a table holds already: sorted arrays, for sets of Python objects would take eight times the memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from events.identity import ID_BYTES

Words = NDArray[np.uint64]
"""(n, 2) ids, as two numbers each."""

MOST = 20_000_000
"""Ids kept in memory, about: 16 bytes each."""


def words_of(ids: Sequence[bytes]) -> Words:
    """(n, 2) of n ids."""
    return np.frombuffer(b"".join(ids), ">u8").astype(np.uint64).reshape(len(ids), ID_BYTES // 8)


def firsts(ids: Words) -> NDArray[np.bool_]:
    """(n,) whether no id before it is the same."""
    first = np.ones(len(ids), dtype=np.bool_)
    order = _order(ids)  # the same stay in the order in which they came
    first[order[1:]] = (ids[order[1:]] != ids[order[:-1]]).any(axis=1)
    return first


def _order(ids: Words) -> NDArray[np.intp]:
    return np.lexsort((ids[:, 1], ids[:, 0]))


class IdSet:
    """A growing set of ids."""

    def __init__(self) -> None:
        self._runs: list[Words] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, ids: Words) -> None:
        """Take ids in. Runs of sorted ids are merged when the last is about as long as the one before: each id is sorted a few times."""
        if not len(ids):
            return
        self._runs.append(ids[_order(ids)])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            both = np.concatenate(self._runs[-2:])
            self._runs[-2:] = [both[_order(both)]]

    def holds(self, ids: Words) -> NDArray[np.bool_]:
        """(n,) whether each id is in the set."""
        found = np.zeros(len(ids), dtype=np.bool_)
        for run in self._runs:
            at = np.searchsorted(run[:, 0], ids[:, 0])
            undecided = np.flatnonzero(~found)
            # Ids that begin alike lie side by side; there is hardly ever more than one.
            while len(undecided := undecided[at[undecided] < len(run)]):
                here = run[at[undecided]]
                undecided, here = undecided[alike := here[:, 0] == ids[undecided, 0]], here[alike]
                same = here[:, 1] == ids[undecided, 1]
                found[undecided[same]] = True
                undecided = undecided[~same]
                at[undecided] += 1
        return found


P = TypeVar("P", bound=Hashable)


class Known(Generic[P]):
    """The ids of a table's partitions, read when they are first asked about; those not asked about for longest make room for others.

    Args:
        load: reads the ids of a partition.
        most: ids to keep, about; the partition asked about last is kept in any case.
    """

    def __init__(self, load: Callable[[P], Words], most: int = MOST) -> None:
        self._load = load
        self._most = most
        self._sets: OrderedDict[P, IdSet] = OrderedDict()

    def of(self, partition: P) -> IdSet:
        """The ids of a partition. Those who append to it add theirs."""
        held = self._sets.get(partition)
        if held is None:
            held = self._sets[partition] = IdSet()
            held.add(self._load(partition))
        self._sets.move_to_end(partition)
        while len(self._sets) > 1 and sum(map(len, self._sets.values())) > self._most:
            self._sets.popitem(last=False)
        return held

    def forget(self) -> None:
        """Another has written: read everything anew."""
        self._sets.clear()
