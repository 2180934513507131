"""Raw features become x: imputed, multiplied, with the intercept last."""

from __future__ import annotations

import numpy as np
import pytest

from policies.vector import design_matrix, dimension, feature_names
from tests.policies.build import spec

NAMES = ("a", "b", "c")
RAW = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_without_rules_x_is_the_raw_features() -> None:
    np.testing.assert_array_equal(design_matrix(RAW, NAMES, spec()), RAW)


def test_products_follow_in_order_and_the_intercept_is_last() -> None:
    rules = spec(interactions=(("c", "a"), ("b", "b"), ("a", "b", "c")), intercept=True)
    np.testing.assert_array_equal(design_matrix(RAW, NAMES, rules), [[1, 2, 3, 3, 4, 6, 1], [4, 5, 6, 24, 25, 120, 1]])
    assert feature_names(rules, NAMES) == ("a", "b", "c", "c*a", "b*b", "a*b*c", "1")
    assert dimension(rules, 3) == 7


def test_products_alone_leave_no_intercept_behind() -> None:
    x = design_matrix(RAW, NAMES, spec(interactions=(("a", "b"),)))
    np.testing.assert_array_equal(x, [[1, 2, 3, 2], [4, 5, 6, 20]])
    assert x.flags.c_contiguous


def test_the_intercept_alone_is_one_column_of_ones() -> None:
    np.testing.assert_array_equal(design_matrix(RAW, NAMES, spec(intercept=True)), [[1, 2, 3, 1], [4, 5, 6, 1]])


def test_absent_features_are_imputed_before_they_are_multiplied_and_the_input_is_left_alone() -> None:
    raw = np.array([[np.nan, 2.0, 3.0]])
    np.testing.assert_array_equal(design_matrix(raw, NAMES, spec(impute=0.5, interactions=(("a", "b"),))), [[0.5, 2, 3, 1]])
    assert np.isnan(raw[0, 0])


def test_absent_features_are_named_when_the_policy_rejects_them() -> None:
    with pytest.raises(ValueError, match=r"absent: a, c$"):
        design_matrix(np.array([[np.nan, 2.0, 3.0], [1.0, 2.0, np.nan]]), NAMES, spec(impute=None))


def test_an_interaction_of_an_unknown_feature_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown features \['z'\]"):
        design_matrix(RAW, NAMES, spec(interactions=(("a", "z"),)))


def test_a_product_that_overflows_is_infinite_and_a_matter_of_whoever_bounds_it() -> None:
    raw = np.array([[1e200, -1e200, 0.0]])
    x = design_matrix(raw, NAMES, spec(interactions=(("a", "b"), ("a", "a", "c"))))
    np.testing.assert_array_equal(x, [[1e200, -1e200, 0.0, -np.inf, np.nan]])
