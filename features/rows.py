"""The rows of a view as numbers. The same rows come again and again: what a row holds is worked out once, as long as it is remembered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import TypeVar

import numpy as np

from features.packed import Values, columns, unpack
from features.values import decode_micros, decode_moments, decode_number, decode_numbers
from features.wire import DecodeError
from policies.types import Floats

MANY = 16
"""Rows from which on decoding them together, column by column, costs less than one after the other."""
MOST_BYTES = 4 * 1024 * 1024
"""Of what is remembered of rows of one shape; when it gets more, all of it is forgotten."""
_SHAPES = 8
_OBJECTS_BYTES = 256
"""What Python takes for what is remembered of a row, beside its bytes."""
_TEXT_BYTES = 64
"""And for each text of it."""

T = TypeVar("T")


@lru_cache(maxsize=_SHAPES)
def rows_of(size: int, texts: tuple[int, ...]) -> Rows:
    """What decodes rows of that shape: the same for all views and plans that have it."""
    return Rows(size, texts)


class Rows:
    """Decodes rows of one shape.

    A row is known by all of its bytes, so what is remembered cannot differ from what would be worked out.

    Args:
        size: C, how many columns there are.
        texts: those of them that hold strings.
    """

    def __init__(self, size: int, texts: tuple[int, ...]) -> None:
        self._texts = texts
        self._width = 1 + size
        self._pack = Struct(f"={self._width}d").pack
        self._known: dict[bytes, tuple[bytes, Values]] = {}
        self._bytes = 0

    def decoded(self, rows: Sequence[bytes]) -> tuple[Floats, Sequence[Values]]:
        """What rows hold.

        Args:
            rows: (n,) packed; at least one.

        Returns:
            (n, 1 + C): moment in microseconds, then the columns; NaN where null, absent, or a string. The caller's own, to be changed.
            And of each of ``texts`` the (n,) values, as they are stored.

        Raises:
            DecodeError: a number is of another type, or malformed.
        """
        known = self._known
        found = list(map(known.get, rows))
        if None in found:
            fresh = self._decode({row for row, seen in zip(rows, found, strict=True) if seen is None})
            found = [fresh[row] if seen is None else seen for row, seen in zip(rows, found, strict=True)]
            self._remember(fresh)
        numbers, texts = zip(*found, strict=True)
        table = np.frombuffer(bytearray().join(numbers)).reshape(len(rows), self._width)
        return table, list(zip(*texts, strict=True)) if self._texts else ()

    def _decode(self, rows: Iterable[bytes]) -> dict[bytes, tuple[bytes, Values]]:
        """What each row holds. Those of one length mostly have their values at the same places."""
        by_length: defaultdict[int, list[bytes]] = defaultdict(list)
        for row in rows:
            by_length[len(row)].append(row)
        found: dict[bytes, tuple[bytes, Values]] = {}
        for some in by_length.values():
            found |= zip(some, self._decode_together(some) if len(some) >= MANY else map(self._decode_one, some), strict=True)
        return found

    def _decode_together(self, rows: Sequence[bytes]) -> Iterable[tuple[bytes, Values]]:
        stamps, *values = self._checked(columns(rows))
        table = np.full((len(rows), self._width), math.nan)
        table[:, 0] = decode_moments(stamps)
        for c, column in enumerate(values):
            if c not in self._texts:
                table[:, 1 + c] = decode_numbers(column)
        numbers, width = table.tobytes(), 8 * self._width
        texts: Iterable[Values] = zip(*(values[c] for c in self._texts), strict=True) if self._texts else [()] * len(rows)
        return zip((numbers[at : at + width] for at in range(0, len(numbers), width)), texts, strict=True)

    def _decode_one(self, row: bytes) -> tuple[bytes, Values]:
        stamp, *values = self._checked(unpack(row))
        numbers = [math.nan if c in self._texts else decode_number(value) for c, value in enumerate(values)]
        moment = math.nan if stamp is None else decode_micros(stamp)
        return self._pack(moment, *numbers), tuple(values[c] for c in self._texts)

    def _checked(self, values: Sequence[T]) -> Sequence[T]:
        if len(values) != self._width:
            raise DecodeError(f"rows of {len(values)} values, where their view has {self._width}")
        return values

    def _remember(self, fresh: dict[bytes, tuple[bytes, Values]]) -> None:
        copies = 2 if self._texts else 1
        each = 8 * self._width + _OBJECTS_BYTES + _TEXT_BYTES * len(self._texts)
        size = copies * sum(map(len, fresh)) + each * len(fresh)
        if size > MOST_BYTES:
            return
        if self._bytes + size > MOST_BYTES:
            self._known.clear()
            self._bytes = 0
        self._known |= fresh
        self._bytes += size
