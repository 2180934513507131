"""Keys of rows in Feast's Redis online store, from a view's template and entity values.

Feast's serialisation version 3: the join keys' names (constant: the template's prefix), then per value, in the order of the sorted
names, its type, its length and its bytes, then the project (the suffix).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from struct import Struct

from features.plan import JoinKey, View

_HEAD = Struct("<II").pack
_STRING, _INT32, _INT64 = 2, 3, 4
_INTEGERS = {"int32": (_HEAD(_INT32, 4), Struct("<i").pack, 31), "int64": (_HEAD(_INT64, 8), Struct("<q").pack, 63)}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}").fullmatch


def is_integer(text: str) -> bool:
    """Whether a text is a whole number as entities are written."""
    return _INTEGER(text) is not None


_STRING_HEADS = tuple(_HEAD(_STRING, length) for length in range(257))
"""Of texts of all lengths that ids may have. Longer ones come too: a request with one is looked at whole before it is refused."""


class BadEntityError(ValueError):
    """A row's key cannot be made: its join keys with what is wrong with each."""

    def __init__(self, mistakes: tuple[tuple[str, str], ...]) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(f"{key}: {what}" for key, what in mistakes))


def key_of(view: View, own: Mapping[str, str], shared: Mapping[str, str]) -> bytes:
    """The key of one row.

    Args:
        view: whose row.
        own, shared: values by join key; ``own`` wins.

    Raises:
        BadEntityError: values are missing, or are not of their join key's type; all of them are named.
    """
    parts = [view.key_prefix]
    mistakes: list[tuple[str, str]] = []
    for key in view.join_keys:
        text = own.get(key.name)
        if text is None:
            text = shared.get(key.name)
        if text is None:
            mistakes.append((key.name, f"required: the features of {view.name} are looked up by it"))
        elif key.dtype == "string":
            data = text.encode()
            parts += _HEAD(_STRING, len(data)), data
        else:
            value = _integer(key, text)
            if value is None:
                mistakes.append((key.name, f"must be a whole number of {key.dtype[3:]} bits, got {text[:40]!r}"))
            else:
                head, pack, _ = _INTEGERS[key.dtype]
                parts += head, pack(value)
    if mistakes:
        raise BadEntityError(tuple(mistakes))
    parts.append(view.key_suffix)
    return b"".join(parts)


def keys_of(view: View, texts: Iterable[str]) -> list[bytes]:
    """The keys of several rows of a view that has one join key, a string: what `key_of` gives for each."""
    prefix, suffix, heads, known = view.key_prefix, view.key_suffix, _STRING_HEADS, len(_STRING_HEADS)
    return [
        b"".join((prefix, heads[size] if (size := len(data)) < known else _HEAD(_STRING, size), data, suffix))
        for data in map(str.encode, texts)
    ]


def _integer(key: JoinKey, text: str) -> int | None:
    if not is_integer(text):
        return None
    value, bits = int(text), _INTEGERS[key.dtype][2]
    return value if -(1 << bits) <= value < 1 << bits else None
