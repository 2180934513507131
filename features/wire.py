"""Protobuf's wire format, as far as it can be read without a schema: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterable

Field = tuple[int, int | bytes]
"""Number and value of one field of a message."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class DecodeError(ValueError):
    """Bytes that are not what they should be."""


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit integer that starts at a position, and where it ends.

    Raises:
        DecodeError: it is cut off, or longer than any.
    """
    try:
        byte = raw[at]
        result, shift = byte & 0x7F, 7
        while byte >= 0x80:
            at += 1
            byte = raw[at]
            result |= (byte & 0x7F) << shift
            shift += 7
    except IndexError:
        raise DecodeError(f"cut off: {raw[:40]!r}") from None
    if shift > 70:
        raise DecodeError(f"not an integer of 64 bits: {raw[:40]!r}")
    return result & 0xFFFF_FFFF_FFFF_FFFF, at + 1


def fields(message: bytes) -> list[Field]:
    """The fields of a serialised message, in order.

    Raises:
        DecodeError: the bytes are no message.
    """
    found: list[Field] = []
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            integer, at = varint(message, at)
            found.append((number, integer))
            continue
        if wire_type == _BYTES:
            size, at = varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type, -1)
        if size < 0 or number == 0 or at + size > len(message):
            raise DecodeError(f"not a message: {message[:40]!r}")
        found.append((number, message[at : at + size]))
        at += size
    return found


def canonical(message: Iterable[Field]) -> list[object]:
    """Fields with nested messages taken apart and the entries of maps sorted: protobuf writes those in an order that means nothing and
    differs from process to process.

    Without the schema a map's entry is known by its shape (a first and a second field, nothing else, both of variable length), and a
    string may pass for a message: different messages stay different all the same.
    """
    result: list[object] = []
    maps: dict[int, list[str]] = {}
    for number, value in message:
        inner = _inner(value) if isinstance(value, bytes) else None
        if not inner:
            result.append((number, value))
        elif [n for n, _ in inner] == [1, 2] and all(isinstance(v, bytes) for _, v in inner):
            maps.setdefault(number, []).append(repr(canonical(inner)))
        else:
            result.append((number, canonical(inner)))
    return [*result, *((number, sorted(entries)) for number, entries in sorted(maps.items()))]


def _inner(value: bytes) -> list[Field] | None:
    try:
        return fields(value)
    except DecodeError:
        return None
