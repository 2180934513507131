"""Reads the values of a declaration and collects, in words that teach, what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from policies.duration import MAX_DURATION_S, duration_seconds

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """One mistake of a declaration: the path to it (of what is missing: to where it should be), and what to write instead."""

    path: Path
    message: str


class Check:
    """Reads values and collects what is wrong with them.

    A value that is refused comes back as a harmless one of its type. A refused number comes back as NaN: whatever it is compared with
    afterwards then passes, so that one mistake is told once.
    """

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def refuse(self, path: Path, message: str) -> None:
        """Note a mistake."""
        self.violations.append(Violation(path, message))

    def mapping(self, path: Path, value: object, what: str) -> dict[object, object]:
        """A mapping with any keys."""
        if isinstance(value, Mapping):
            return dict(value)
        self.refuse(path, f"must be {what}; got {shown(value)}")
        return {}

    def section(self, path: Path, value: object, allowed: Collection[str]) -> dict[str, object]:
        """A mapping with no other keys than these."""
        given = self.mapping(path, value, f"a mapping with the keys {listed(allowed)}")
        for key in given:
            if key not in allowed:
                self.refuse((*path, str(key)), unknown("key", key, allowed))
        return {key: given[key] for key in allowed if key in given}

    def section_over(self, path: Path, value: object, defaults: Mapping[str, object]) -> dict[str, object]:
        """A mapping with no other keys than its defaults', which fill in what it leaves out."""
        return {**defaults, **self.section(path, value, defaults.keys())}

    def number(self, path: Path, value: object, allowed: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number that ``allowed`` describes."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and low <= number <= high:
                return number
        hint = "; numbers stand without quotes, and YAML wants a point before an exponent, 1.0e-3" if _numeric(value) else ""
        self.refuse(path, f"must be {allowed}; got {shown(value)}{hint}")
        return math.nan

    def duration(self, path: Path, value: object, allowed: str, *, low: float = 0.0, high: float = MAX_DURATION_S) -> float:
        """Seconds, of a number of them or of a text like ``7d``; never negative."""
        allowed = f"{allowed}, written like 7d, 1h, 30m, 90s or as a number of seconds"
        if not isinstance(value, str):
            return self.number(path, value, allowed, low=low, high=high)
        seconds = duration_seconds(value)
        if seconds is not None and low <= seconds <= high:
            return seconds
        self.refuse(path, f"must be {allowed}; got {shown(value)}")
        return math.nan

    def optional_duration(self, path: Path, value: object, least: str, *, low: float) -> float | None:
        """The same, or None for null; ``least`` is ``low`` as people write it."""
        if value is None:
            return None
        return self.duration(path, value, f"null (never) or a duration from {least} to 36500d", low=low)

    def boolean(self, path: Path, value: object) -> bool:
        """true or false, and nothing that is merely like it."""
        if isinstance(value, bool):
            return value
        self.refuse(path, f"must be true or false; got {shown(value)}")
        return False

    def label(self, path: Path, value: object, what: str) -> str:
        """A name that fits into keys: feature, join key, arm or outcome."""
        if not isinstance(value, str):
            hint = "; quote it, YAML reads yes, no, on and off as true and false" if isinstance(value, bool) else ""
            self.refuse(path, f"must be {what}; got {shown(value)}{hint}")
        elif not _fits_into_keys(value):
            rule = "1 to 128 visible characters (256 bytes) without ':', '{' or '}' and without spaces around them"
            self.refuse(path, f"must be {what}: {rule}; got {shown(value)}")
        else:
            return value
        return ""

    def choice(self, path: Path, value: object, what: str, allowed: Sequence[str]) -> str:
        """One of a few words."""
        if isinstance(value, str) and value in allowed:
            return value
        self.refuse(path, unknown(what, value, allowed))
        return ""

    def items(self, path: Path, value: object, what: str, *, least: int = 0, most: int = 1_000) -> list[object]:
        """A list of so many items; empty when refused."""
        if isinstance(value, (list, tuple)) and least <= len(value) <= most:
            return list(value)
        self.refuse(path, f"must be {what}; got {shown(value)}")
        return []


def _fits_into_keys(text: str) -> bool:
    """Whether a text may name something: also an id of the contract, which counts bytes."""
    visible = 0 < len(text) <= 128 and text.isprintable() and text == text.strip()
    return visible and len(text.encode()) <= 256 and not set(text) & set(":{}")


def _numeric(value: object) -> bool:
    """Whether a text was probably meant as a number."""
    return isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", value) is not None


def unknown(what: str, given: object, allowed: Collection[str]) -> str:
    """That a word is not one of those allowed, and which of them was perhaps meant."""
    near = get_close_matches(given, list(allowed), n=1) if isinstance(given, str) else []
    meant = f"did you mean `{near[0]}`? " if near else ""
    return f"unknown {what} {shown(given)}; {meant}allowed: {listed(allowed)}"


def listed(words: Collection[str]) -> str:
    """Words to choose from."""
    return ", ".join(f"`{word}`" for word in words)


def shown(value: object) -> str:
    """A value as its author would recognise it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**18:
        return "an enormous number"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:37]}...")
    return str(value)
