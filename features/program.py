"""A plan, turned once into the arrays and functions that reading it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.plan import Plan
from features.rows import Rows, rows_of
from features.transforms import TRANSFORMS
from policies.remember import remembered
from policies.types import Floats, Ints

NO_VIEW = 255

Input = str | tuple[int, int]
"""Where a transform's input comes from: a name the request gives, or (view, column)."""


@dataclass(frozen=True, slots=True)
class Program:
    """How a plan's features are put together. Views and their columns are named by their index in the plan.

    Args:
        names: (F,) the vector's features.
        fields: per view its hash fields, the timestamp's first.
        text_keys: per view its join key, if it has one and that is a string.
        texts: per view the columns that hold strings.
        rows: decodes each view's rows.
        copied: per view the features it stores and the columns they are.
        computed: feature, function and inputs of each transform in use.
        dependents: per view (F,) whether the feature comes from it, copied or computed.
        sources: (F,) bytes: the view that the feature comes from; `NO_VIEW` where it comes from none, or from several.
        labels: name, view and column of each string feature.
    """

    names: tuple[str, ...]
    fields: tuple[tuple[bytes, ...], ...]
    text_keys: tuple[str | None, ...]
    texts: tuple[tuple[int, ...], ...]
    rows: tuple[Rows, ...]
    copied: tuple[tuple[Ints, Ints], ...]
    computed: tuple[tuple[int, Callable[..., Floats], tuple[Input, ...]], ...]
    dependents: tuple[NDArray[np.bool_], ...]
    sources: bytes
    labels: tuple[tuple[str, int, int], ...]


class StalePlanError(ValueError):
    """A plan names a transform this build does not have in that version: the two were not made for each other."""


@remembered
def program_of(plan: Plan) -> Program:
    """The program of a plan, made at its first use.

    Raises:
        StalePlanError.
    """
    vector = [f for f in plan.features if f.dtype != "string"]
    place = {(v, c.name): (v, i) for v, view in enumerate(plan.views) for i, c in enumerate(view.columns)}
    by_name: dict[str, tuple[int, int]] = {name: where for (_, name), where in place.items()}
    computed = []
    dependents = np.zeros((len(plan.views), len(vector)), dtype=np.bool_)
    for j, feature in enumerate(vector):
        if feature.transform is None:
            dependents[feature.view, j] = True
            continue
        ref = plan.transforms[feature.transform]
        transform = TRANSFORMS.get(ref.name)
        if transform is None or transform.version != ref.version:
            have = "none" if transform is None else f"version {transform.version}"
            raise StalePlanError(f"{plan.feature_service} needs transform {ref.name} version {ref.version}; this build has {have}")
        inputs: list[Input] = [by_name.get(name, name) for name in transform.inputs]
        computed.append((j, transform.function, tuple(inputs)))
        for v in {i[0] for i in inputs if not isinstance(i, str)}:
            dependents[v, j] = True
    copied = []
    for v in range(len(plan.views)):
        pairs = [(j, place[v, f.column][1]) for j, f in enumerate(vector) if f.view == v]
        copied.append((np.array([j for j, _ in pairs], dtype=np.int64), np.array([c for _, c in pairs], dtype=np.int64)))
    texts = tuple(tuple(i for i, c in enumerate(view.columns) if c.dtype == "string") for view in plan.views)
    return Program(
        names=plan.vector,
        fields=tuple((view.timestamp_field, *(c.field for c in view.columns)) for view in plan.views),
        text_keys=tuple(v.join_keys[0].name if [k.dtype for k in v.join_keys] == ["string"] else None for v in plan.views),
        texts=texts,
        rows=tuple(rows_of(len(view.columns), of) for view, of in zip(plan.views, texts, strict=True)),
        copied=tuple(copied),
        computed=tuple(computed),
        dependents=tuple(dependents),
        sources=bytes(int(of.argmax()) if of.sum() == 1 else NO_VIEW for of in dependents.T),
        labels=tuple((f.name, *place[f.view, f.column]) for f in plan.features if f.dtype == "string" and f.view is not None),
    )
