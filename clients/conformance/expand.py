"""From `cases.json` to what runners are given: macros written out, names made fresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FRESH = "{fresh}"
NUMBER = "#"


class CaseError(Exception):
    """A case is not written as it must be; the message says which."""


def expand(value: Any, requests: Mapping[str, Any], fresh: str) -> Any:
    """A value with its macros written out; README.md lists them.

    Args:
        requests: what `$like` names.
        fresh: takes the place of ``{fresh}`` in texts: a name that no other run has used.

    Raises:
        CaseError: a macro names a request there is not.
    """
    match value:
        case str():
            return value.replace(FRESH, fresh)
        case list():
            return [expand(item, requests, fresh) for item in value]
        case {"$like": name, **changes}:
            if name not in requests:
                raise CaseError(f"there is no request {name!r} to be like")
            merged = {**expand(requests[name], requests, fresh), **expand(changes, requests, fresh)}
            return {field: item for field, item in merged.items() if item is not None}
        case {"$times": times, "item": item}:
            return [numbered(expand(item, requests, fresh), n) for n in range(times)]
        case {"$entries": times, "key": key, "value": item}:
            return {numbered(key, n): numbered(expand(item, requests, fresh), n) for n in range(times)}
        case {"$repeat": text, "times": times}:
            return text * times
        case dict():
            return {expand(name, requests, fresh): expand(item, requests, fresh) for name, item in value.items()}
    return value


def numbered(value: Any, n: int) -> Any:
    """A value with a number in place of every ``#``."""
    match value:
        case str():
            return value.replace(NUMBER, str(n))
        case list():
            return [numbered(item, n) for item in value]
        case dict():
            return {numbered(name, n): numbered(item, n) for name, item in value.items()}
    return value
