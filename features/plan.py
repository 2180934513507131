"""A plan: all that a serving worker must know of a Feast feature service to read it from Redis without Feast."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Dtype = Literal["float64", "float32", "int64", "int32", "bool", "timestamp", "string"]


@dataclass(frozen=True, slots=True)
class JoinKey:
    """One entity column of a view: its name and the type its values are converted to."""

    name: str
    dtype: Literal["string", "int64", "int32"]


@dataclass(frozen=True, slots=True)
class Column:
    """One stored value of a view: its name, the hash field that holds it, its type."""

    name: str
    field: bytes
    dtype: Dtype


@dataclass(frozen=True, slots=True)
class View:
    """A feature view as it lies in the online store.

    Args:
        name: the view's name (its alias in the service, when it has one).
        join_keys: sorted as the store's key encoding sorts them.
        key_prefix, key_suffix: constant bytes around the encoded entity values of a row's key.
        columns: the values the service needs, of this view.
        timestamp_field: hash field of the row's event timestamp.
        ttl_s: age in seconds past which a value is EXPIRED; None: never.
    """

    name: str
    join_keys: tuple[JoinKey, ...]
    key_prefix: bytes
    key_suffix: bytes
    columns: tuple[Column, ...]
    timestamp_field: bytes
    ttl_s: float | None


@dataclass(frozen=True, slots=True)
class TransformRef:
    """A request-time transform the service applies: its name in ``features.transforms``, and the version it was compiled against."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of the service, in the service's order.

    Args:
        name: as the caller of the service knows it.
        dtype: its type; only ``string`` features stay out of the vector.
        view: index of the view that stores it, or None.
        column: name of the column or of the transform's output.
        transform: index of the transform that computes it, or None. Exactly one of ``view`` and ``transform`` is given.
    """

    name: str
    dtype: Dtype
    view: int | None
    column: str
    transform: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled feature service.

    Args:
        feature_service: its name.
        fingerprint: of the registry's content that it was compiled from.
        views: what is read.
        transforms: what is computed, in order.
        request_fields: names the caller may send (context or candidate features) beside what the server sets itself.
        features: the ordered output.
    """

    feature_service: str
    fingerprint: str
    views: tuple[View, ...]
    transforms: tuple[TransformRef, ...]
    request_fields: tuple[str, ...]
    features: tuple[Feature, ...]

    @property
    def vector(self) -> tuple[str, ...]:
        """Names of the features that make the vector x, in order."""
        return tuple(f.name for f in self.features if f.dtype != "string")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a feature service has no plan: one thing to change in its definitions."""

    feature_service: str
    description: str


def signature(plan: Plan) -> str:
    """Hash of what a vector means: its features in order, their types, and the version of every transform they come from.

    Evidence of plans with the same signature may be added up. Where a value is stored, its time to live and labels do not count.
    """
    meaning = [
        (f.name, f.dtype, None if f.transform is None else (plan.transforms[f.transform].name, plan.transforms[f.transform].version))
        for f in plan.features
        if f.dtype != "string"
    ]
    return hashlib.sha256(json.dumps(meaning, separators=(",", ":")).encode()).hexdigest()


def to_json(plan: Plan) -> str:
    """A plan as JSON text, the same text for equal plans; bytes are written in hexadecimal."""
    return json.dumps(asdict(plan), default=bytes.hex, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str | bytes) -> Plan:
    """What `to_json` wrote.

    Raises:
        ValueError: it is no plan of this layout.
    """
    try:
        said = json.loads(text)
        return Plan(
            said["feature_service"],
            said["fingerprint"],
            tuple(_view(view) for view in said["views"]),
            tuple(TransformRef(**transform) for transform in said["transforms"]),
            tuple(said["request_fields"]),
            tuple(Feature(**feature) for feature in said["features"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a plan of this layout: {error}") from error


def _view(said: dict[str, Any]) -> View:
    return View(
        said["name"],
        tuple(JoinKey(**key) for key in said["join_keys"]),
        bytes.fromhex(said["key_prefix"]),
        bytes.fromhex(said["key_suffix"]),
        tuple(Column(c["name"], bytes.fromhex(c["field"]), c["dtype"]) for c in said["columns"]),
        bytes.fromhex(said["timestamp_field"]),
        said["ttl_s"],
    )
