"""Features as they were served, candidate by candidate, against what a training set has now for the same moments. Knows no Feast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from events.columns import TIME
from events.log import Advance, Log
from events.recompute import numbers
from features.plan import Plan
from features.transforms import SERVER_FIELDS, TRANSFORMS
from policies.types import Floats, Namespace
from serving.ports import PublishedPolicy

EXPIRED = 2
_COLUMNS = (
    *("namespace", "decision_id", "recorded_at", "request_time", "utc_offset", "arms", "x", "feature_status"),
    *("entities", "candidate_entity_names", "candidate_entity_values"),
)


class Served(NamedTuple):
    """What one feature service served.

    Args:
        plan: by which it did.
        asked: (n,) rows as a training set asks: join keys, ``event_timestamp``, and what a request sends.
        x: (n, F) float64 as served, NaN where there was none.
        expired: (n, F) whether it was there and too old.
    """

    plan: Plan
    asked: pa.Table
    x: Floats
    expired: np.ndarray[tuple[int, int], np.dtype[np.bool_]]

    @property
    def names(self) -> tuple[str, ...]:
        """(F,) of the features."""
        return self.plan.vector

    @property
    def unknown(self) -> dict[str, str]:
        """Features that cannot be worked out again, and what of their inputs was not logged."""
        sent = set(self.plan.request_fields)
        found = {}
        for feature in self.plan.features:
            if feature.transform is not None:
                missing = sent.intersection(TRANSFORMS[self.plan.transforms[feature.transform].name].inputs)
                if missing:
                    found[feature.name] = ", ".join(sorted(missing))
        return found


class Skew(NamedTuple):
    """How one feature as served compares with a training set.

    Args:
        rows: that either of them has a value for.
        equal: to the last bit.
        largest: difference where both have one.
        only_served, only_joined: rows for which the other has none.
        expired: of the latter, those that were there when served, but too old.
    """

    feature: str
    rows: int
    equal: int
    largest: float
    only_served: int
    only_joined: int
    expired: int


def served(
    log: Log, policies: Mapping[Namespace, PublishedPolicy], since_us: int, most: int, advance: Advance = lambda rows: None
) -> list[Served]:
    """What was served by feature services since a time: of each the newest decisions, until they have so many candidates.

    Raises:
        TableUnavailable.
    """
    batches: dict[str, list[tuple[PublishedPolicy, pa.RecordBatch]]] = {}
    for batch in log.batches(("decision",), _COLUMNS, since_us=since_us, advance=advance):
        for namespace, policy in policies.items():
            rows = batch.filter(pc.equal(batch["namespace"], namespace))
            if policy.plan is not None and rows.num_rows:
                batches.setdefault(policy.plan.feature_service, []).append((policy, rows))
    return [_newest([_of(policy, rows) for policy, rows in found], most) for found in batches.values()]


def compare(found: Served, joined: Mapping[str, Floats]) -> list[Skew]:
    """Feature by feature.

    Args:
        joined: (n,) of each feature, NaN where a training set has none.
    """
    return [
        _skew(name, found.x[:, f], joined[name], found.expired[:, f]) for f, name in enumerate(found.names) if name not in found.unknown
    ]


def _skew(name: str, served: Floats, joined: Floats, expired: np.ndarray[Any, np.dtype[np.bool_]]) -> Skew:
    here, there = ~np.isnan(served), ~np.isnan(joined)
    both = here & there
    apart = np.abs(served[both] - joined[both])
    count = np.count_nonzero
    return Skew(
        name,
        int(count(here | there)),
        int(count(apart == 0)),
        float(apart.max(initial=0.0)),
        int(count(here & ~there)),
        int(count(there & ~here)),
        int(count(there & ~here & expired)),
    )


def _of(policy: PublishedPolicy, batch: pa.RecordBatch) -> Served:
    """Decisions taken apart into candidates."""
    assert policy.plan is not None  # noqa: S101  who calls has looked
    sizes = numbers(pc.list_value_length(batch["arms"]))
    decision = np.repeat(np.arange(batch.num_rows), sizes)
    x = numbers(batch["x"].flatten()).reshape(-1, policy.dimension)[:, : len(policy.features)].copy()
    status = np.frombuffer(b"".join(batch["feature_status"].to_pylist()), np.uint8)
    status = status.reshape(x.shape) if len(status) else np.zeros(x.shape, np.uint8)
    x[status != 0] = math.nan
    at = batch["request_time"].take(pa.array(decision))
    asked = {name: pa.array(values, pa.string()) for name, values in _keys(policy.plan, batch, sizes.tolist()).items()}
    for name, dtype in {key.name: key.dtype for view in policy.plan.views for key in view.join_keys}.items():
        if dtype != "string":
            asked[name] = asked[name].cast(pa.int64())
    nothing = pa.nulls(len(decision), pa.float64())
    asked["event_timestamp"] = at.cast(TIME)
    asked["request_time"] = pa.array(numbers(at) / 1e6)
    asked["utc_offset"] = batch["utc_offset"].fill_null(0.0).take(pa.array(decision))
    asked.update((name, nothing) for name in policy.plan.request_fields if name not in SERVER_FIELDS)
    return Served(policy.plan, pa.table(asked), x, status == EXPIRED)


def _keys(plan: Plan, batch: pa.RecordBatch, sizes: Sequence[int]) -> dict[str, list[str | None]]:
    """Values of the plan's join keys, candidate by candidate: its own before that of the whole request."""
    names = list(dict.fromkeys(key.name for view in plan.views for key in view.join_keys))
    found: dict[str, list[str | None]] = {name: [] for name in names}
    for shared, own, k in zip(batch["entities"].to_pylist(), _own(batch), sizes, strict=True):
        for_all = dict(shared or ())
        for name in names:
            values = own.get(name, [""] * k)
            found[name] += [value or for_all.get(name) for value in values]
    return found


def _own(batch: pa.RecordBatch) -> Iterator[dict[str, list[str]]]:
    """What join keys candidates brought, by name: a value for each of them, empty where it brought none."""
    for names, values in zip(batch["candidate_entity_names"].to_pylist(), batch["candidate_entity_values"].to_pylist(), strict=True):
        yield {name: values[i :: len(names)] for i, name in enumerate(names or ())}


def _newest(parts: Sequence[Served], most: int) -> Served:
    asked = pa.concat_tables([part.asked for part in parts])
    order = np.argsort(-numbers(asked["event_timestamp"].combine_chunks()), kind="stable")[:most]
    x, expired = (np.concatenate([part[i] for part in parts])[order] for i in (2, 3))
    return Served(parts[0].plan, asked.take(pa.array(order)), x, expired)
