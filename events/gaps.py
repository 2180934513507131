"""What the log lacks, as far as numbers tell: each shard counts its entries within an epoch from 1, without gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from events.recompute import numbers

COLUMNS = ("shard", "epoch", "sequence", "recorded_at")

Counted = tuple[int, str]
"""A shard and an epoch of it: what counts its entries."""


class Gap(NamedTuple):
    """Entries of which the log has nothing.

    Args:
        shard, epoch: that counted them.
        first, last: sequence numbers, the first and the last of those missing.
        missing: how many.
        erased: how many of them may be missing because a scope of the shard was forgotten later, and what was logged of it erased.
    """

    shard: int
    epoch: str
    first: int
    last: int
    missing: int
    erased: int


@dataclass(slots=True)
class Sequences:
    """The numbers that were seen.

    Args:
        forgotten: when a scope of a shard was forgotten last, by shard, in microseconds.
    """

    forgotten: Mapping[int, int]
    _seen: dict[Counted, NDArray[np.bool_]] = field(default_factory=dict)
    _old: dict[Counted, int] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        """Note events, in the columns `COLUMNS`; those that no shard counted have no epoch."""
        epochs = batch["epoch"].dictionary_encode()
        codes = numbers(epochs.indices.fill_null(-1)) * 256 + numbers(batch["shard"].fill_null(0))
        sequences, at = numbers(batch["sequence"].fill_null(0)), numbers(batch["recorded_at"])
        names = epochs.dictionary.to_pylist()
        order = np.argsort(codes, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            code = int(codes[mine[0]])
            if code >= 0 and (epoch := names[code // 256]):
                self._note((code % 256, epoch), sequences[mine], at[mine])

    def gaps(self, last: Mapping[Counted, int]) -> list[Gap]:
        """What is missing.

        Args:
            last: number of the last entry, where it is known; elsewhere the highest that was seen.
        """
        found = []
        for counted in sorted({*self._seen, *last}):
            seen = self._seen.get(counted, np.zeros(1, np.bool_))
            highest = last.get(counted, int(np.flatnonzero(seen).max(initial=0)))
            missing = np.setdiff1d(np.arange(1, highest + 1), np.flatnonzero(seen), assume_unique=True)
            if len(missing):
                erased = int(np.count_nonzero(missing <= self._old.get(counted, 0)))
                found.append(Gap(*counted, int(missing[0]), int(missing[-1]), len(missing), erased))
        return found

    def _note(self, counted: Counted, sequences: NDArray[np.int64], at: NDArray[np.int64]) -> None:
        highest = int(sequences.max())
        seen = self._seen.get(counted)
        if seen is None or len(seen) <= highest:
            longer = np.zeros(2 * highest + 1, np.bool_)
            if seen is not None:
                longer[: len(seen)] = seen
            seen = self._seen[counted] = longer
        seen[sequences] = True
        old = sequences[at <= self.forgotten.get(counted[0], -1)]
        if len(old):
            self._old[counted] = max(self._old.get(counted, 0), int(old.max()))
