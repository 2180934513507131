from __future__ import annotations

from typing import Any

import pytest

from policies.parse import SpecError, parse_spec
from policies.spec import MAX_DIMENSION
from serving.resolve import resolve
from tests.catalog.samples import plan, policy


def violations(over: bool = True, **declared: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(SpecError) as caught:
        policy(plan() if over else None, **declared)
    return [(v.path, v.message) for v in caught.value.violations]


def test_a_plan_gives_the_vector_its_numbers_in_order() -> None:
    over = plan()
    found = policy(over, interactions=[["age", "urgent"]], intercept=True)
    assert found.features == ("age", "urgent")
    assert found.dimension == 4
    assert found.plan is over


def test_features_that_callers_send_need_no_plan() -> None:
    found = policy(features=["a", "b", "c"])
    assert (found.features, found.dimension, found.plan) == (("a", "b", "c"), 3, None)


def test_evidence_moves_with_what_it_is_a_sum_of_and_only_then() -> None:
    base = policy(plan()).namespace
    assert policy(plan(ttl_s=5), algorithm="lints", exploration=0.5).namespace == base
    assert policy(plan(transform=2)).namespace != base
    assert policy(plan({"age": "float64", "urgent": "int32"})).namespace != base


def test_a_service_without_plan_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        resolve(parse_spec({"name": "p", "feature_service": "none_v1"}), None)
    ((path, text),) = [(v.path, v.message) for v in caught.value.violations]
    assert path == ("feature_service",)
    assert "none_v1" in text


def test_every_misfit_is_listed() -> None:
    found = violations(scope="age", arm={"feature": "colour"}, interactions=[["age", "kind"], ["size", "age"]])
    assert [path for path, _ in found] == [("scope",), ("arm", "feature"), ("interactions", 0, 1), ("interactions", 1, 0)]
    assert "is a feature" in found[0][1]
    assert "age, kind, urgent" in found[1][1]
    assert "is a text" in found[2][1]
    assert "there are age, urgent" in found[3][1]


def test_an_arm_may_be_a_text() -> None:
    assert policy(plan(), arm={"feature": "kind"}).dimension == 2


def test_a_vector_has_at_most_128_numbers() -> None:
    names = [f"f{i}" for i in range(MAX_DIMENSION)]
    assert policy(features=names).dimension == 128
    ((path, text),) = violations(False, features=names, intercept=True)
    assert path == ("features",)
    assert "129" in text
