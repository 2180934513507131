"""Whose evidence a request names."""

from __future__ import annotations

from typing import Literal

import pytest

from features.plan import JoinKey, Plan, View
from policies.spec import PolicySpec
from policies.types import Namespace, PolicyName, PolicyVersion
from serving.ports import PublishedPolicy
from serving.service.slate import scope_of


def published(dtype: Literal["string", "int64", "int32"]) -> PublishedPolicy:
    view = View("users", (JoinKey("user_id", dtype),), b"", b"", (), b"", None)
    plan = Plan("s", "f", (view,), (), (), ())
    return PublishedPolicy(PolicySpec(PolicyName("p"), feature_service="s", scope="user_id"), PolicyVersion(1), Namespace("n"), (), 1, plan)


@pytest.mark.parametrize(("text", "scope"), [("42", "42"), ("042", "42"), ("+42", "42"), ("-0", "0"), ("-7", "-7"), ("4x", "4x")])
def test_a_whole_number_is_one_person_however_it_is_written(text: str, scope: str) -> None:
    assert scope_of(published("int64"), text) == scope
    assert scope_of(published("int32"), text) == scope


def test_a_text_is_the_person_it_spells() -> None:
    assert scope_of(published("string"), "042") == "042"
