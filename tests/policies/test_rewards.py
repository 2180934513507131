"""Several rewards of one decision make one value."""

from __future__ import annotations

from functools import reduce
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rewards import Tally, fold
from policies.spec import Aggregate

VALUES = st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=20)


def tally(aggregate: Aggregate, values: list[float]) -> Tally:
    return reduce(lambda so_far, value: fold(aggregate, so_far, value), values, Tally())


def test_before_the_first_reward_there_is_no_value() -> None:
    assert Tally() == Tally(count=0, sum=0.0, value=None)


@pytest.mark.parametrize(
    ("aggregate", "values"),
    [
        ("first", [2.0, 2.0, 2.0, 2.0]),
        ("last", [2.0, -1.0, 0.0, 3.0]),
        ("sum", [2.0, 1.0, 1.0, 4.0]),
        ("max", [2.0, 2.0, 2.0, 3.0]),
        ("min", [2.0, -1.0, -1.0, -1.0]),
        ("mean", [2.0, 0.5, 1 / 3, 1.0]),
    ],
)
def test_after_each_reward_the_value_is_the_aggregate_so_far(aggregate: Aggregate, values: list[float]) -> None:
    rewards = [2.0, -1.0, 0.0, 3.0]
    assert [tally(aggregate, rewards[: n + 1]).value for n in range(4)] == pytest.approx(values)


@pytest.mark.parametrize("aggregate", get_args(Aggregate))
def test_a_single_reward_is_its_own_aggregate(aggregate: Aggregate) -> None:
    assert fold(aggregate, Tally(), -0.5) == Tally(1, -0.5, -0.5)


def test_first_does_not_count_what_it_ignores() -> None:
    assert tally("first", [1.0, 5.0]) == Tally(1, 1.0, 1.0)


@given(VALUES)
def test_max_min_sum_and_mean_do_not_depend_on_order(values: list[float]) -> None:
    for aggregate in ("max", "min", "sum", "mean"):
        assert tally(aggregate, values).value == pytest.approx(tally(aggregate, values[::-1]).value, abs=1e-9)
