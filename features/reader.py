"""From a plan and requests to feature rows to read, and from their bytes to a table of features. Pure; on the path of every Score.

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
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from features.columns import Columns
from features.keys import BadEntityError, key_of, keys_of
from features.plan import Plan, View
from features.program import Program, program_of
from features.values import decode_string
from policies.types import Floats, Ints

PRESENT, MISSING, EXPIRED = 0, 1, 2

Row = tuple[bytes, tuple[bytes, ...]]
"""Key and hash fields of one stored row; the field of its timestamp comes first."""


class Lookup(NamedTuple):
    """The distinct rows a request needs, and who needs which.

    Args:
        rows: to fetch, those of one view together.
        first: index of each view's first row; one more entry marks the end.
        uses: per view the (K,) rows of the candidates, counted from the view's first.
        violations: (path, what is wrong) of every mistake; with any, the rest is incomplete.
    """

    rows: Sequence[Row]
    first: tuple[int, ...]
    uses: tuple[Sequence[int], ...]
    violations: tuple[tuple[str, str], ...]


class Slate(NamedTuple):
    """What one request gives to its features.

    Args:
        found: its lookup, without violations.
        rows: each row of the lookup as it is stored, packed (`features.packed`).
        request_time: seconds since the epoch.
        utc_offset_s: local time minus UTC, in seconds.
        shared_fields: request fields sent for all candidates; finite.
        candidate_fields: (K,) those sent for each alone; theirs win. Names that are no request fields of the plan are ignored.
    """

    found: Lookup
    rows: Sequence[bytes]
    request_time: float
    utc_offset_s: float
    shared_fields: Mapping[str, float]
    candidate_fields: Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """The features of K candidates: those of one slate, or of several laid end to end.

    Args:
        names: (F,) of the columns of ``x``: the plan's vector.
        x: (K, F) float64, NaN where absent.
        status: (K, F) uint8: PRESENT, MISSING or EXPIRED.
        moments: (K, V) event time of each view's row, in seconds since the epoch; NaN where the store has none.
        sources: (F,) bytes: the view that each feature comes from; `features.program.NO_VIEW`: none, or several.
        labels: values of the string features by name: (K,) each, None where absent.
    """

    names: tuple[str, ...]
    x: Floats
    status: NDArray[np.uint8]
    moments: Floats
    sources: bytes
    labels: Mapping[str, Sequence[str | None]]


def lookup(plan: Plan, shared_entities: Mapping[str, str], candidates: Sequence[Mapping[str, str]]) -> Lookup:
    """Which rows of the online store a request needs.

    Args:
        plan: of its feature service.
        shared_entities: join key → value, for all candidates.
        candidates: (K,) the same for each alone; theirs win. Keys the plan does not know are ignored.
    """
    rows: list[Row] = []
    first = [0]
    uses: list[Sequence[int]] = []
    violations: dict[tuple[str, str], None] = {}
    program = program_of(plan)
    for view, fields, text_key in zip(plan.views, program.fields, program.text_keys, strict=True):
        if text_key is not None and (keys := _plain_keys(view, text_key, shared_entities, candidates)):
            rows += [(key, fields) for key in keys]
            first.append(len(rows))
            uses.append(range(len(keys)) if len(keys) == len(candidates) else [0] * len(candidates))
            continue
        places: dict[bytes, int] = {}
        used: Sequence[int] = [0] * len(candidates)
        if any(key.name in own for own in candidates for key in view.join_keys):
            mine = used = []
            for k, own in enumerate(candidates):
                try:
                    mine.append(places.setdefault(key_of(view, own, shared_entities), len(places)))
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
    return Lookup(rows, tuple(first), tuple(uses), tuple(violations))


def _plain_keys(
    view: View, text_key: str, shared_entities: Mapping[str, str], candidates: Sequence[Mapping[str, str]]
) -> list[bytes] | None:
    """Keys of a view with one join key, a string, when there is no more to it: a row for each candidate, or one for all; else None."""
    if isinstance(candidates, Columns):
        texts: Sequence[str | None] = candidates.of.get(text_key) or [None] * len(candidates)
    else:
        texts = [own.get(text_key) for own in candidates]
    if None not in texts:
        keys = keys_of(view, cast(Sequence[str], texts))
        return keys if len(set(keys)) == len(keys) else None
    if text_key in shared_entities and texts.count(None) == len(texts):
        return keys_of(view, [shared_entities[text_key]])
    return None


def assemble(plan: Plan, slates: Sequence[Slate]) -> FeatureTable:
    """The features of several requests' candidates, one slate after the other, once their rows are read.

    They are worked out together because a handful of numbers costs an array as much as a hundred do; none depends on any other.

    Args:
        plan: the one all the lookups were made with.
        slates: at least one.

    Raises:
        DecodeError: the store holds what no feature of a supported type is stored as.
    """
    program = program_of(plan)
    sizes = [len(slate.candidate_fields) for slate in slates]
    times = np.array([slate.request_time for slate in slates])
    stored = [_stored(view, slates, v, times, program) for v, view in enumerate(plan.views)]
    x = np.empty((sum(sizes), len(program.names)))
    for v, (features, columns) in enumerate(program.copied):
        if features.size:
            x[:, features] = stored[v].numbers[columns].T
    per_slate = {"request_time": times, "utc_offset": np.array([slate.utc_offset_s for slate in slates])}
    of = None if len(slates) == 1 else np.repeat(np.arange(len(slates)), sizes)
    given = {name: values if of is None else values[of] for name, values in per_slate.items()}
    for name in plan.request_fields:
        given[name] = np.array([fields.get(name, shared) for fields, shared in _sent(name, slates)])
    for feature, function, inputs in program.computed:
        if all(i in per_slate for i in inputs):
            values = function(*(per_slate[i] for i in inputs if isinstance(i, str)))
            x[:, feature] = values if of is None else values[of]
        else:
            x[:, feature] = function(*(given[i] if isinstance(i, str) else stored[i[0]].numbers[i[1]] for i in inputs))
    absent = np.isnan(x)
    status = absent.astype(np.uint8)
    for view_rows, dependents in zip(stored, program.dependents, strict=True):
        if view_rows.expired is not None:
            status[absent & view_rows.expired[:, None] & dependents] = EXPIRED
    moments = np.empty((len(x), len(stored)))
    for v, view_rows in enumerate(stored):
        moments[:, v] = view_rows.moments
    moments *= 1e-6
    labels = {name: stored[v].strings[column] for name, v, column in program.labels}
    return FeatureTable(program.names, x, status, moments, program.sources, labels)


class _Stored(NamedTuple):
    """What a view gives each of K candidates.

    Args:
        numbers: (C, K) its columns, NaN where null, absent, expired, or a string.
        moments: (K,) event times of the rows, in microseconds; NaN where there is none.
        expired: (K,) whether the row is; None when none is.
        strings: (K,) per column that holds strings, by its index.
    """

    numbers: Floats
    moments: Floats
    expired: NDArray[np.bool_] | None
    strings: Mapping[int, Sequence[str | None]]


def _stored(view: View, slates: Sequence[Slate], v: int, times: Floats, program: Program) -> _Stored:
    """A view's rows, each judged at the moment of its request, and dealt out to the candidates."""
    rows: list[bytes] = []
    uses: list[int] = []
    rows_of: list[int] = []
    for slate in slates:
        first, end = slate.found.first[v : v + 2]
        used, before = slate.found.uses[v], len(rows)
        uses += [before + use for use in used] if before else used
        rows += slate.rows[first:end]
        rows_of.append(end - first)
    table, texts = program.rows[v].decoded(rows)
    moments, numbers = table[:, 0], table[:, 1:].T
    now = np.rint(times * 1e6)
    age = (now if len(slates) == 1 else now.repeat(rows_of)) - moments
    known = age >= 0.0
    late = None
    if view.ttl_s is not None:
        over = age > round(view.ttl_s * 1e6)
        if np.count_nonzero(over):
            known, late = known & ~over, over
    strings: dict[int, Sequence[str | None]] = {}
    for c, values in zip(program.texts[v], texts, strict=True):
        held = [decode_string(raw) if good else None for raw, good in zip(values, known.tolist(), strict=True)]
        strings[c] = [held[use] for use in uses]
    if np.count_nonzero(known) < len(rows):
        numbers[:, ~known] = math.nan
    if len(uses) == len(rows) and uses == list(range(len(rows))):
        return _Stored(numbers, moments, late, strings)
    places: Ints = np.array(uses)
    return _Stored(numbers[:, places], moments[places], None if late is None else late[places], strings)


def _sent(name: str, slates: Sequence[Slate]) -> Iterator[tuple[Mapping[str, float], float]]:
    """Per candidate what was sent for it alone, and the value of one field that was sent for its whole slate."""
    for slate in slates:
        shared = slate.shared_fields.get(name, math.nan)
        for fields in slate.candidate_fields:
            yield fields, shared


def _paths(bad: BadEntityError, own: Mapping[str, str], k: int | None) -> Iterator[tuple[str, str]]:
    """Each mistake of a key with the request field that made it: a candidate's own entity, or one shared by all."""
    for key, what in bad.mistakes:
        theirs = k is not None and (key in own or what.startswith("required"))
        yield (f"candidates[{k}].entities[{key!r}]" if theirs else f"entities[{key!r}]"), what
