"""Request-time features: computed here and nowhere else, for Feast's on-demand views and for the server alike.

Every function is elementwise: an element of the result depends on that element of the inputs alone, not on how many there are or where
it stands, so that a slate of ten and a training set of a million agree to the last bit. That is why sines and logarithms are taken one
by one with `math`: NumPy chooses its kernel by CPU (its AVX-512 ``log1p`` differs from the C library's in 1 value of 65).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from features.plan import Dtype
from policies.types import Floats

SERVER_FIELDS = ("request_time", "utc_offset")
"""Inputs the server sets itself: seconds since the epoch, and the person's local time minus UTC in seconds."""

_DAY_S = 86_400.0
_YEAR_DAYS = 365.0


@dataclass(frozen=True, slots=True)
class Transform:
    """One request-time feature.

    Args:
        name: of the feature.
        version: raised with every change to what it computes: evidence learned from one version says nothing about another.
        inputs: names of stored columns, caller-sent fields or `SERVER_FIELDS`; timestamps are whole seconds since the epoch (what
            Feast stores online), booleans 0 or 1.
        function: takes the inputs in that order as float64 arrays that broadcast, finite or NaN; returns float64 of the broadcast
            shape, NaN wherever an input is NaN. Elementwise and pure.
        dtype: of the result.
    """

    name: str
    version: int
    inputs: tuple[str, ...]
    function: Callable[..., Floats]
    dtype: Dtype = "float64"


def hour_sin(request_time: Floats, utc_offset: Floats) -> Floats:
    """Sine of the local time of day as an angle: 0 at midnight, 1 at six."""
    return _each(math.sin, _day_angle(request_time, utc_offset))


def hour_cos(request_time: Floats, utc_offset: Floats) -> Floats:
    """Cosine of the local time of day as an angle: 1 at midnight, 0 at six."""
    return _each(math.cos, _day_angle(request_time, utc_offset))


def is_overdue(due_at: Floats, due_has_time: Floats, request_time: Floats, utc_offset: Floats) -> Floats:
    """1 from the moment a task falls due, else 0.

    A due date without a time (``due_has_time`` 0, ``due_at`` its midnight in UTC) falls due at the local midnight that ends the day, in
    the person's offset at the time of the request.
    """
    falls_due = due_at + (1.0 - due_has_time) * (_DAY_S - utc_offset)
    late_by = request_time - falls_due
    return np.where(np.isnan(late_by), np.nan, late_by >= 0.0)


def task_age(created_at: Floats, request_time: Floats) -> Floats:
    """Age of a task: 0 when new (or not created yet), 1 after a year, growing with the logarithm of its days."""
    days = np.maximum(request_time - created_at, 0.0) / _DAY_S
    return _each(math.log1p, days) / math.log1p(_YEAR_DAYS)


def priority(priority_level: Floats) -> Floats:
    """Todoist's priority as its API counts it (1 to 4, 4 most urgent), over 4."""
    return priority_level / 4.0


TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        transform.name: transform
        for transform in (
            Transform("hour_sin", 1, SERVER_FIELDS, hour_sin),
            Transform("hour_cos", 1, SERVER_FIELDS, hour_cos),
            Transform("is_overdue", 1, ("due_at", "due_has_time", *SERVER_FIELDS), is_overdue),
            Transform("task_age", 1, ("created_at", "request_time"), task_age),
            Transform("priority", 1, ("priority_level",), priority),
        )
    }
)
"""Every transform there is, by name."""


def compute(names: Iterable[str], inputs: Mapping[str, Any]) -> dict[str, Floats]:
    """Transforms over the columns that Feast hands an on-demand view: the whole body of such a view.

    Args:
        names: of the transforms.
        inputs: their inputs by name, (n,) each: lists, arrays or pandas series (a data frame will do), None, NaN or NaT where null.

    Returns:
        (n,) float64 by transform name, in the order of ``names``.
    """
    transforms = [TRANSFORMS[name] for name in names]
    columns = {name: as_floats(inputs[name]) for name in dict.fromkeys(i for t in transforms for i in t.inputs)}
    return {t.name: t.function(*(columns[name] for name in t.inputs)) for t in transforms}


def as_floats(values: Any) -> Floats:
    """A column as transforms take it: float64, null and infinite as NaN, instants as whole seconds since the epoch (naive is UTC)."""
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", None) == "M":  # NumPy's and pandas' instants, with a zone or without
        instants = np.asarray(values, dtype="datetime64[us]")
        seconds = instants.astype("datetime64[s]").astype(np.int64).astype(np.float64)
        return np.where(np.isnat(instants), np.nan, seconds)
    if getattr(dtype, "kind", None) in ("f", "i", "u", "b") and isinstance(dtype, np.dtype):
        numbers = np.asarray(values, dtype=np.float64)
    else:
        numbers = np.array([_as_float(value) for value in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _as_float(value: Any) -> float:
    if value is None or value != value:  # NaN and NaT equal nothing
        return math.nan
    if isinstance(value, datetime):
        return float(math.floor((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()))
    return float(value)


def _day_angle(request_time: Floats, utc_offset: Floats) -> Floats:
    return np.mod(request_time + utc_offset, _DAY_S) * (math.tau / _DAY_S)


def _each(function: Callable[[float], float], values: Floats) -> Floats:
    flat: Sequence[float] = values.ravel().tolist()
    return np.array([function(value) for value in flat], dtype=np.float64).reshape(values.shape)
