"""Feast's stored bytes as numbers and strings, decoded by hand: faster than the protobuf library, and nothing to import.

A stored value is one ``feast.types.Value``, a message with at most one field set; a row's moment is one
``google.protobuf.Timestamp``. Wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from struct import Struct
from typing import cast

import numpy as np

from features.wire import DecodeError, varint
from policies.types import Floats

_double: Callable[[bytes, int], tuple[float]] = Struct("<d").unpack_from
_float: Callable[[bytes, int], tuple[float]] = Struct("<f").unpack_from

# The first byte of a value: field number · 8 + wire type.
_STRING, _DOUBLE, _FLOAT = 0x12, 0x29, 0x35
_FLOATS = {(_DOUBLE, 9): "<f8", (_FLOAT, 5): "<f4"}
"""First byte and length of a value that is a number as it lies → how it lies."""
_INTEGERS = frozenset((0x18, 0x20, 0x38, 0x40))  # int32, int64, bool, timestamp
_NULL = b"\x98\x01"
_NOT_A_TIME = b"\x40" + b"\x80" * 9 + b"\x01"
"""A null of a timestamp column: NumPy's NaT, the least of all integers."""

_SECONDS, _NANOS = 0x08, 0x10

MANY = 32
"""Values of a column from which on decoding them together costs less than one after the other."""
_LONGEST = 7
"""Bytes of a varint whose value any float64 holds exactly."""
_PLACES = 128.0 ** np.arange(_LONGEST)


def decode_numbers(raws: Sequence[bytes | None]) -> Floats:
    """(n,) numbers of a column, each as `decode_number` gives it.

    Raises:
        DecodeError: one is of another type, or malformed.
    """
    if len(raws) >= MANY and (table := _alike(raws)) is not None:
        tag, width = table[0, 0], table.shape[1]
        if (form := _FLOATS.get((tag, width))) is not None:
            numbers = np.ascontiguousarray(table[:, 1:]).view(form)[:, 0].astype(np.float64)
            return cast(Floats, np.where(np.isfinite(numbers), numbers, math.nan))
        if tag in _INTEGERS and _plain_varints(table):
            return _varints(table)
    return np.array([*map(decode_number, raws)])


def decode_moments(raws: Sequence[bytes | None]) -> Floats:
    """(n,) moments of rows in microseconds, each as `decode_micros` gives it; NaN where there is none.

    Raises:
        DecodeError: one is no timestamp.
    """
    if len(raws) >= MANY and (table := _alike(raws)) is not None and table[0, 0] == _SECONDS and _plain_varints(table):
        return _varints(table) * 1e6
    return np.array([math.nan if raw is None else decode_micros(raw) for raw in raws], dtype=np.float64)


def _alike(raws: Sequence[bytes | None]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]] | None:
    """(n, w) bytes of values that are all w > 2 bytes long and begin alike; None if they are not: the shortest are few, and known."""
    try:
        joined = b"".join(raws)  # type: ignore[arg-type]
    except TypeError:  # an absent one
        return None
    width = len(joined) // len(raws)
    if width < 3 or set(map(len, raws)) != {width}:  # type: ignore[arg-type]
        return None
    table = np.frombuffer(joined, np.uint8).reshape(len(raws), width)
    return table if np.count_nonzero(table[:, 0] != table[0, 0]) == 0 else None


def _plain_varints(table: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bool:
    """Whether each row is a tag and one varint that ends where the row does, of few enough bytes."""
    return table.shape[1] - 1 <= _LONGEST and np.count_nonzero((table[:, 1:-1] >= 0x80) == 0) == 0 and table[:, -1].max() < 0x80


def _varints(table: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> Floats:
    return cast(Floats, (table[:, 1:] & 0x7F) @ _PLACES[: table.shape[1] - 1])


def decode_number(raw: bytes | None) -> float:
    """A stored number, boolean (0 or 1) or timestamp (whole seconds since the epoch).

    Args:
        raw: a serialised ``feast.types.Value``, or None where the store has none.

    Returns:
        The number, rounded to the nearest float64; NaN for null (absent, empty, an explicit null, a timestamp column's NaT) and for
        what is infinite.

    Raises:
        DecodeError: it is of another type, or malformed.
    """
    if not raw or raw == _NOT_A_TIME:
        return math.nan
    tag = raw[0]
    if tag == _DOUBLE and len(raw) == 9:
        return _finite(_double(raw, 1)[0])
    if tag == _FLOAT and len(raw) == 5:
        return _finite(_float(raw, 1)[0])
    if tag in _INTEGERS:
        if len(raw) == 2 and raw[1] < 0x80:
            return float(raw[1])
        integer, end = varint(raw, 1)
        if end == len(raw):
            return float(_signed(integer))
    elif raw.startswith(_NULL):
        return math.nan
    raise DecodeError(f"not a number, boolean or timestamp of Feast's: {raw[:40]!r}")


def decode_string(raw: bytes | None) -> str | None:
    """A stored string, None for null: absent, empty, or an explicit null.

    Raises:
        DecodeError: it is of another type, or malformed.
    """
    if not raw or raw.startswith(_NULL):
        return None
    if raw[0] == _STRING:
        length, start = varint(raw, 1)
        if start + length == len(raw):
            try:
                return raw[start:].decode()
            except UnicodeDecodeError:
                pass
    raise DecodeError(f"not a string of Feast's: {raw[:40]!r}")


def decode_micros(raw: bytes) -> int:
    """A row's moment, in microseconds since the epoch (finer parts are dropped, as Feast's offline stores drop them).

    Raises:
        DecodeError: the bytes are no timestamp.
    """
    seconds = nanos = at = 0
    while at < len(raw):
        tag = raw[at]
        value, at = varint(raw, at + 1)
        if tag == _SECONDS:
            seconds = _signed(value)
        elif tag == _NANOS:
            nanos = _signed(value)
        else:
            raise DecodeError(f"not a timestamp: {raw[:40]!r}")
    return seconds * 1_000_000 + nanos // 1000


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
