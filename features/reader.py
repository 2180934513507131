"""From a plan and a request to feature rows to read, and from their bytes to a table of features. Pure; on the path of every Score.

What is served equals what `get_historical_features` returns for the same moment, bit for bit, where nothing is imputed:

- A row's age is compared with its view's TTL in whole microseconds, the resolution of Feast's offline join; an age of exactly the TTL
  is still good, as there.
- A row from after the request's moment was not known then: MISSING, as if it were not there.
- A null in a row that is there is MISSING too, and so is an infinite number, which no vector can hold.
- A computed feature that comes out NaN is EXPIRED when one of its inputs was, else MISSING.

So a feature is PRESENT exactly where its number is not NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.keys import BadEntityError, key_of
from features.plan import Plan, View
from features.program import program_of
from features.values import decode_micros, decode_number, decode_string
from policies.types import Floats

PRESENT, MISSING, EXPIRED = 0, 1, 2

Row = tuple[bytes, tuple[bytes, ...]]
"""Key and hash fields of one stored row; the field of its timestamp comes first."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The distinct rows a request needs, and who needs which.

    Args:
        rows: to fetch, those of one view together.
        first: index of each view's first row; one more entry marks the end.
        uses: per view the (K,) rows of the candidates, counted from the view's first; None where all share its only row.
        candidates: K.
        violations: (path, what is wrong) of every mistake; with any, the rest is incomplete.
    """

    rows: Sequence[Row]
    first: tuple[int, ...]
    uses: tuple[list[int] | None, ...]
    candidates: int
    violations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """The features of K candidates.

    Args:
        names: (F,) of the columns of ``x``: the plan's vector.
        x: (K, F) float64, NaN where absent.
        status: (K, F) uint8: PRESENT, MISSING or EXPIRED.
        labels: values of the string features by name: (K,) each, None where absent.
    """

    names: tuple[str, ...]
    x: Floats
    status: NDArray[np.uint8]
    labels: Mapping[str, tuple[str | None, ...]]


def lookup(plan: Plan, shared_entities: Mapping[str, str], candidates: Sequence[Mapping[str, str]]) -> Lookup:
    """Which rows of the online store a request needs.

    Args:
        plan: of its feature service.
        shared_entities: join key → value, for all candidates.
        candidates: (K,) the same for each alone; theirs win. Keys the plan does not know are ignored.
    """
    rows: list[Row] = []
    first = [0]
    uses: list[list[int] | None] = []
    violations: dict[tuple[str, str], None] = {}
    program = program_of(plan)
    for view, fields in zip(plan.views, program.fields, strict=True):
        places: dict[bytes, int] = {}
        used: list[int] | None = None
        if any(key.name in own for own in candidates for key in view.join_keys):
            used = []
            for k, own in enumerate(candidates):
                try:
                    used.append(places.setdefault(key_of(view, own, shared_entities), len(places)))
                except BadEntityError as bad:
                    violations.update(dict.fromkeys(_paths(bad, own, k)))
        else:
            try:
                places[key_of(view, {}, shared_entities)] = 0
            except BadEntityError as bad:
                violations.update(dict.fromkeys(_paths(bad, {}, None)))
        rows.extend((key, fields) for key in places)
        first.append(len(rows))
        uses.append(used)
    return Lookup(rows, tuple(first), tuple(uses), len(candidates), tuple(violations))


def assemble(
    plan: Plan,
    found: Lookup,
    rows: Sequence[Sequence[bytes | None]],
    request_time: float,
    utc_offset_s: float,
    shared_fields: Mapping[str, float],
    candidate_fields: Sequence[Mapping[str, float]],
) -> FeatureTable:
    """The features of a request's candidates, once its rows are read.

    Args:
        plan: the one the lookup was made with.
        found: the lookup, without violations.
        rows: per row of the lookup its fields' bytes, None where the store has none.
        request_time: seconds since the epoch.
        utc_offset_s: local time minus UTC, in seconds.
        shared_fields: request fields sent for all candidates; finite.
        candidate_fields: (K,) those sent for each alone; theirs win. Names that are no request fields of the plan are ignored.

    Raises:
        DecodeError: the store holds what no feature of a supported type is stored as.
    """
    program = program_of(plan)
    now = round(request_time * 1e6)
    stored = [
        _stored(view, rows[found.first[v] : found.first[v + 1]], found.uses[v], now, program.texts[v]) for v, view in enumerate(plan.views)
    ]
    x = np.empty((found.candidates, len(program.names)))
    for v, (features, columns) in enumerate(program.copied):
        if features.size:
            x[:, features] = stored[v].numbers[:, columns]
    given: dict[str, Floats] = {"request_time": np.array([request_time]), "utc_offset": np.array([utc_offset_s])}
    for name in plan.request_fields:
        shared = shared_fields.get(name, math.nan)
        given[name] = np.array([own.get(name, shared) for own in candidate_fields])
    for feature, function, inputs in program.computed:
        x[:, feature] = function(*(given[i] if isinstance(i, str) else stored[i[0]].numbers[:, i[1]] for i in inputs))
    absent = np.isnan(x)
    status = absent.astype(np.uint8)
    for view_rows, dependents in zip(stored, program.dependents, strict=True):
        if view_rows.expired is not None:
            status[absent & view_rows.expired[:, None] & dependents] = EXPIRED
    labels = {name: _label(stored[v].strings[column], found.candidates) for name, v, column in program.labels}
    return FeatureTable(program.names, x, status, labels)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a view gives each candidate (K rows), or all alike (one row).

    Args:
        numbers: (·, C) its columns, NaN where null, absent, expired, or a string.
        expired: (·,) whether the row is; None when none is.
        strings: (·,) per column that holds strings, by its index.
    """

    numbers: Floats
    expired: NDArray[np.bool_] | None
    strings: Mapping[int, tuple[str | None, ...]]


def _stored(view: View, rows: Sequence[Sequence[bytes | None]], uses: list[int] | None, now: int, texts: tuple[int, ...]) -> _Stored:
    """A view's rows, judged at a moment (microseconds since the epoch) and dealt out to the candidates."""
    ttl = None if view.ttl_s is None else round(view.ttl_s * 1e6)
    nothing = [math.nan] * len(view.columns)
    numbers: list[list[float]] = []
    expired: list[bool] = []
    strings: dict[int, list[str | None]] = {c: [] for c in texts}
    for fields in rows:
        moment = fields[0]
        age = -1 if moment is None else now - decode_micros(moment)
        late = ttl is not None and age > ttl
        known = age >= 0 and not late
        for c in texts:
            strings[c].append(decode_string(fields[1 + c]) if known else None)
        if known:
            numbers.append(
                [math.nan if c in texts else decode_number(f) for c, f in enumerate(fields[1:])]
                if texts
                else [*map(decode_number, fields[1:])]
            )
        else:
            numbers.append(nothing)
        expired.append(late)
    table = np.array(numbers).reshape(len(rows), len(nothing))
    late_rows = np.array(expired) if any(expired) else None
    if uses is not None:
        table = table[uses]
        late_rows = None if late_rows is None else late_rows[uses]
    return _Stored(table, late_rows, {c: tuple(s[i] for i in uses) if uses is not None else tuple(s) for c, s in strings.items()})


def _label(values: tuple[str | None, ...], candidates: int) -> tuple[str | None, ...]:
    return values if len(values) == candidates else values * candidates


def _paths(bad: BadEntityError, own: Mapping[str, str], k: int | None) -> Iterator[tuple[str, str]]:
    """Each mistake of a key with the request field that made it: a candidate's own entity, or one shared by all."""
    for key, what in bad.mistakes:
        theirs = k is not None and (key in own or what.startswith("required"))
        yield (f"candidates[{k}].entities[{key!r}]" if theirs else f"entities[{key!r}]"), what
