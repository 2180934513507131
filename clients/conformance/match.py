"""Whether what came is what was expected, matcher by matcher; README.md lists them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()
"""In place of a value that did not come."""
SHOWN = 200
TOLERANCE = 1e-9


def differences(expected: Any, came: Any, path: str) -> Iterator[str]:
    """What is not as expected, a line each; nothing when all is well.

    Args:
        expected: a plain value; of an object only the fields it names are looked at. Or a matcher.
        path: of the value, for the lines.
    """
    match expected:
        case "$absent":
            if came is not ABSENT:
                yield f"{path}: must be absent, is {_shown(came)}"
        case {"$one_of": choices}:
            if all(list(differences(choice, came, path)) for choice in choices):
                yield f"{path}: must be one of {_shown(choices)}, is {_shown(came)}"
        case _ if came is ABSENT:
            yield f"{path}: is absent, must be {_shown(expected)}"
        case "$any":
            if came in ("", None):
                yield f"{path}: must not be empty"
        case {"$between": [low, high]}:
            if not isinstance(came, int | float) or not low <= came <= high:
                yield f"{path}: must be within [{low}, {high}], is {_shown(came)}"
        case {"$matches": pattern}:
            if not isinstance(came, str) or re.search(pattern, came) is None:
                yield f"{path}: must match {pattern!r}, is {_shown(came)}"
        case {"$not": other}:
            if not list(differences(other, came, path)):
                yield f"{path}: must not be {_shown(other)}"
        case {"$size": size}:
            if not isinstance(came, list | dict) or len(came) != size:
                yield f"{path}: must hold {size}, holds {len(came) if isinstance(came, list | dict) else _shown(came)}"
        case {"$some": item}:
            if not isinstance(came, list) or all(list(differences(item, one, path)) for one in came):
                yield f"{path}: some item must be {_shown(item)}, it is {_shown(came)}"
        case {"$every": item}:
            if not isinstance(came, list):
                yield f"{path}: must be a list, is {_shown(came)}"
            else:
                for n, one in enumerate(came):
                    yield from differences(item, one, f"{path}[{n}]")
        case {"$sum": field, "is": total}:
            found = sum(item[field] for item in came)
            if not math.isclose(found, total, abs_tol=TOLERANCE):
                yield f"{path}: {field} must sum to {total}, sums to {found}"
        case {"$both": matchers}:
            for matcher in matchers:
                yield from differences(matcher, came, path)
        case Mapping():
            yield from _fields(expected, came, path)
        case list():
            yield from _items(expected, came, path)
        case bool() | str() | None:
            if came != expected or type(came) is not type(expected):
                yield f"{path}: must be {_shown(expected)}, is {_shown(came)}"
        case _:
            if isinstance(came, bool) or not isinstance(came, int | float) or not math.isclose(came, expected, abs_tol=TOLERANCE):
                yield f"{path}: must be {_shown(expected)}, is {_shown(came)}"


def _fields(expected: Mapping[str, Any], came: Any, path: str) -> Iterator[str]:
    if not isinstance(came, dict):
        yield f"{path}: must be an object, is {_shown(came)}"
        return
    for name, value in expected.items():
        yield from differences(value, came.get(name, ABSENT), f"{path}.{name}")


def _items(expected: list[Any], came: Any, path: str) -> Iterator[str]:
    if not isinstance(came, list) or len(came) != len(expected):
        yield f"{path}: must be {_shown(expected)}, is {_shown(came)}"
        return
    for n, (value, item) in enumerate(zip(expected, came, strict=True)):
        yield from differences(value, item, f"{path}[{n}]")


def _shown(value: Any) -> str:
    text = "absent" if value is ABSENT else repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
