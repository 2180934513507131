"""From raw features to the vectors x that policies learn from: imputation, then interactions, then the intercept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from policies.spec import PolicySpec
from policies.types import Floats, Ints


def dimension(spec: PolicySpec, n_features: int) -> int:
    """d, the length of x, for a policy over ``n_features`` raw features."""
    return n_features + len(spec.interactions) + spec.intercept


def feature_names(spec: PolicySpec, names: Sequence[str]) -> tuple[str, ...]:
    """The (d,) names of x's columns: raw features by name, products as ``a*b``, the intercept as ``1``."""
    return (*names, *("*".join(factors) for factors in spec.interactions), *(("1",) if spec.intercept else ()))


def design_matrix(raw: Floats, names: Sequence[str], spec: PolicySpec) -> Floats:
    """Vectors of a slate, one row a candidate.

    Args:
        raw: (K, F) features, NaN where one is not present; left as it is.
        names: (F,) their names, in order.
        spec: says how absent features are imputed, which products are appended, and whether a 1 comes last.

    Returns:
        (K, d) vectors, C-contiguous; ``raw`` itself when there is nothing to change. Finite, unless products of enormous features overflow.

    Raises:
        ValueError: a feature is absent and the policy imputes none, or an interaction names a feature that is not among ``names``.
    """
    absent = np.isnan(raw)
    if absent.any():
        if spec.impute is None:
            missing = ", ".join(name for name, gone in zip(names, absent.T, strict=True) if gone.any())
            raise ValueError(f"the policy {spec.name!r} rejects absent features; absent: {missing}")
        raw = np.where(absent, spec.impute, raw)
    if not spec.interactions and not spec.intercept:
        return raw
    n, f = raw.shape
    products = f + len(spec.interactions)
    X = np.ones((n, products + 1))
    X[:, :f] = raw
    if spec.interactions:
        with np.errstate(over="ignore", invalid="ignore"):
            X[:, f:products] = X.take(_factors(tuple(names), spec.interactions), axis=1).prod(axis=2)
    return X if spec.intercept else np.ascontiguousarray(X[:, :products])


@lru_cache(maxsize=256)
def _factors(names: tuple[str, ...], interactions: tuple[tuple[str, ...], ...]) -> Ints:
    """(I, longest) columns whose product each interaction is, padded with the column of ones that stands last."""
    column = {name: i for i, name in enumerate(names)}
    if unknown := {name for factors in interactions for name in factors} - column.keys():
        raise ValueError(f"interactions name unknown features {sorted(unknown)}; known: {list(names)}")
    index = np.full((len(interactions), max(map(len, interactions))), len(names) + len(interactions))
    for row, factors in zip(index, interactions, strict=True):
        row[: len(factors)] = [column[name] for name in factors]
    return index
