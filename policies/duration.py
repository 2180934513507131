"""Durations as people write them, 7d or 90s, and as seconds."""

from __future__ import annotations

import re

UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
MAX_DURATION_S = 36_500 * UNITS["d"]
"""A hundred years; longer means a slip."""

_WRITTEN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([dhms])")


def duration_seconds(text: str) -> float | None:
    """Seconds in a duration like ``7d``, ``1h``, ``30m`` or ``90s``; None when it is not one."""
    match = _WRITTEN.fullmatch(text)
    return None if match is None else float(match[1]) * UNITS[match[2]]


def duration_text(seconds: float | None) -> str | float | None:
    """How a duration is written: in the largest unit that divides it, else as a number of seconds (and none as null)."""
    if seconds is None or seconds == 0 or seconds % 1 != 0:
        return seconds
    unit = next(unit for unit, size in UNITS.items() if seconds % size == 0)
    return f"{int(seconds / UNITS[unit])}{unit}"
