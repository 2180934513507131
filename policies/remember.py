"""Remembering what is made of a large immutable value, by its identity: hashing one would cost more than what is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")
R = TypeVar("R")

KEPT = 256
"""Values remembered; from then on the oldest is forgotten."""


def remembered(make: Callable[[V], R]) -> Callable[[V], R]:
    """A pure function of one value that is worked out once for each object, not for equal ones."""
    known: dict[int, tuple[V, R]] = {}

    def of(value: V) -> R:
        found = known.get(id(value))
        if found is None:
            while len(known) >= KEPT:
                del known[next(iter(known))]
            found = known[id(value)] = value, make(value)  # holding the value keeps its id its own
        return found[1]

    return of
