"""A stored row in one piece: its values as MessagePack writes an array of texts, which scripts of the store can write too (``cmsgpack``).

To send and to read one text costs a fraction of one for each value. Format: https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from features.wire import DecodeError

Values = Sequence[bytes | None]
"""What the fields of a row hold, in their order; None where the store has no such field."""

_ABSENT = b"\xc2"
_SHORT, _SHORTEST_LONG = 0xA0, 0xC0
_LONG = {0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte of a text → bytes of its length, which follow."""
_FEW = 0x90
_MORE = {0xDC: 2, 0xDD: 4}
"""The same of an array."""

Cuts = Sequence[tuple[int, int] | None]
"""Where each value of a row begins and ends; None: it is absent."""


def pack(values: Values) -> bytes:
    """A row's values in one piece, as ``cmsgpack.pack`` writes them."""
    parts = [_head(len(values), _FEW, 16, _MORE)]
    for value in values:
        parts += (_ABSENT,) if value is None else (_head(len(value), _SHORT, 32, _LONG), value)
    return b"".join(parts)


def unpack(row: bytes) -> Values:
    """A row's values.

    Raises:
        DecodeError: it is no packed row.
    """
    return [None if cut is None else row[cut[0] : cut[1]] for cut in _cuts(row)]


def columns(rows: Sequence[bytes]) -> Sequence[Values]:
    """The values of rows that have the same fields, field by field: (n,) each.

    Args:
        rows: (n,) packed; at least one.

    Raises:
        DecodeError: one is no packed row, or has not as many values as the others.
    """
    cuts = _cuts(rows[0])
    if len(rows) > 1 and _alike(rows, cuts):
        return [[None] * len(rows) if cut is None else list(map(itemgetter(slice(*cut)), rows)) for cut in cuts]
    found = list(map(unpack, rows))
    if len(set(map(len, found))) > 1:
        raise DecodeError("rows of one view with different numbers of values")
    return list(zip(*found, strict=True))


def _alike(rows: Sequence[bytes], cuts: Cuts) -> bool:
    """Whether all rows are cut as the first one is: in all of them, the bytes that are no values are the same."""
    width = len(rows[0])
    if set(map(len, rows)) != {width}:
        return False
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)
    between = np.ones(width, np.bool_)
    for cut in cuts:
        if cut is not None:
            between[slice(*cut)] = False
    heads = table[:, between]
    return bool(np.count_nonzero(heads != heads[0]) == 0)


def _head(size: int, short: int, shortest_long: int, longer: dict[int, int]) -> bytes:
    if size < shortest_long:
        return bytes((short | size,))
    first, width = next((first, width) for first, width in longer.items() if size < 1 << 8 * width)
    return bytes((first,)) + size.to_bytes(width, "big")


def _cuts(row: bytes) -> Cuts:
    cuts: list[tuple[int, int] | None] = []
    try:
        if (width := _MORE.get(row[0])) is not None:
            count, at = int.from_bytes(row[1 : 1 + width], "big"), 1 + width
        elif _FEW <= row[0] < _SHORT:
            count, at = row[0] - _FEW, 1
        else:
            raise DecodeError(f"not a packed row: {row[:40]!r}")
        for _ in range(count):
            tag = row[at]
            start = at + 1
            if _SHORT <= tag < _SHORTEST_LONG:
                at = start + tag - _SHORT
            elif (width := _LONG.get(tag)) is not None:
                start += width
                at = start + int.from_bytes(row[start - width : start], "big")
            elif tag == _ABSENT[0]:
                at = start
                cuts.append(None)
                continue
            else:
                raise DecodeError(f"not a packed row: {row[:40]!r}")
            cuts.append((start, at))
    except IndexError:
        raise DecodeError(f"cut off: {row[:40]!r}") from None
    if at != len(row):
        raise DecodeError(f"not a packed row: {row[:40]!r}")
    return cuts
