"""The rows of one view as numbers. The same rows come again and again: what a row holds is worked out once, as long as it is remembered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TypeVar

import numpy as np

from features.packed import columns, unpack
from features.values import decode_micros, decode_moments, decode_number, decode_numbers
from features.wire import DecodeError
from policies.types import Floats

MANY = 16
"""Rows from which on decoding them together, column by column, costs less than one after the other."""
MOST_BYTES = 8 * 1024 * 1024
"""Of what is remembered of a view; when it gets more, all of it is forgotten."""
T = TypeVar("T")

_OBJECTS_BYTES = 170
"""What Python takes for two texts and their place in a table, beside their bytes."""


class Rows:
    """Decodes rows of one view.

    A row is known by all of its bytes, so what is remembered cannot differ from what would be worked out.

    Args:
        size: C, how many columns the view has.
        texts: those of them that hold strings.
    """

    def __init__(self, size: int, texts: tuple[int, ...]) -> None:
        self._texts = frozenset(texts)
        self._width = 1 + size
        self._pack = Struct(f"={self._width}d").pack
        self._known: dict[bytes, bytes] = {}
        self._bytes = 0

    def decoded(self, rows: Sequence[bytes]) -> Floats:
        """(n, 1 + C): moment in microseconds, then the columns; NaN where null, absent, or a string. The caller's own, to be changed.

        Args:
            rows: (n,) packed; at least one.

        Raises:
            DecodeError: a value is of another type, or malformed.
        """
        known = self._known
        found = list(map(known.get, rows))
        if None in found:
            fresh = self._decode({row for row, numbers in zip(rows, found, strict=True) if numbers is None})
            found = [fresh[row] if numbers is None else numbers for row, numbers in zip(rows, found, strict=True)]
            self._remember(fresh)
        return np.frombuffer(bytearray().join(found)).reshape(len(rows), self._width)  # type: ignore[arg-type]  # none is None now

    def _decode(self, rows: Iterable[bytes]) -> dict[bytes, bytes]:
        """Each row's numbers. Those of one length mostly have their values at the same places."""
        by_length: defaultdict[int, list[bytes]] = defaultdict(list)
        for row in rows:
            by_length[len(row)].append(row)
        found: dict[bytes, bytes] = {}
        for some in by_length.values():
            found |= zip(some, self._decode_together(some) if len(some) >= MANY else map(self._decode_one, some), strict=True)
        return found

    def _decode_together(self, rows: Sequence[bytes]) -> list[bytes]:
        stamps, *values = self._checked(columns(rows))
        table = np.full((len(rows), self._width), math.nan)
        table[:, 0] = decode_moments(stamps)
        for c, column in enumerate(values):
            if c not in self._texts:
                table[:, 1 + c] = decode_numbers(column)
        numbers, width = table.tobytes(), 8 * self._width
        return [numbers[at : at + width] for at in range(0, len(numbers), width)]

    def _decode_one(self, row: bytes) -> bytes:
        stamp, *values = self._checked(unpack(row))
        numbers = [math.nan if c in self._texts else decode_number(value) for c, value in enumerate(values)]
        return self._pack(math.nan if stamp is None else decode_micros(stamp), *numbers)

    def _checked(self, values: Sequence[T]) -> Sequence[T]:
        if len(values) != self._width:
            raise DecodeError(f"rows of {len(values)} values, where their view has {self._width}")
        return values

    def _remember(self, fresh: dict[bytes, bytes]) -> None:
        size = sum(map(len, fresh)) + len(fresh) * (8 * self._width + _OBJECTS_BYTES)
        if self._bytes + size > MOST_BYTES:
            self._known.clear()
            self._bytes = 0
        if size <= MOST_BYTES:
            self._known |= fresh
            self._bytes += size
