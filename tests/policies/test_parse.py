"""A declaration becomes a policy, or all of its mistakes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.parse import SpecError, parse_spec
from policies.spec import TUNED, Aggregate, Algorithm, PolicySpec, RewardRules, namespace, to_mapping
from policies.types import PolicyName

ROOT = Path(__file__).parents[2]
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
DURATIONS = st.integers(1, 90 * 86_400).map(float)


@st.composite
def specs(draw: st.DrawFn) -> PolicySpec:
    """Policies that hold together."""
    features = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    served = draw(st.booleans())
    algorithm: Algorithm = draw(st.sampled_from(get_args(Algorithm)))
    low = draw(st.floats(-5, 0))
    high = draw(st.floats(0.5, 5))
    value = st.floats(low, high)
    rules = RewardRules(
        low,
        high,
        draw(st.dictionaries(NAMES, value, max_size=3)),
        draw(DURATIONS),
        draw(DURATIONS),
        draw(st.none() | value),
        draw(st.sampled_from(get_args(Aggregate))),
    )
    return PolicySpec(
        PolicyName(draw(NAMES)),
        draw(NAMES) if served else None,
        () if served else features,
        draw(st.none() | NAMES.filter(lambda name: name != "global")),
        "fixed",
        draw(NAMES.filter(lambda name: name != "candidate")),
        draw(st.sampled_from([(), ((features[0], features[-1]),)])),
        draw(st.booleans()),
        algorithm,
        draw(st.floats(0, 10)) if algorithm in TUNED else 1.0,
        draw(st.floats(0.01, 100)),
        draw(st.floats(0, 1)),
        draw(st.none() | DURATIONS),
        rules,
        draw(st.none() | st.floats(-1, 1)),
        draw(st.integers(1, 10_000)),
        draw(st.none() | st.just(180 * 86_400.0)),
    )


@given(specs())
def test_a_policy_written_down_and_read_again_is_the_same_policy(spec: PolicySpec) -> None:
    assert parse_spec(yaml.safe_load(yaml.safe_dump(to_mapping(spec)))) == spec


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4), st.data())
def test_whatever_a_field_holds_is_accepted_or_explained(value: object, data: st.DataObject) -> None:
    declared: dict[str, Any] = to_mapping(PolicySpec(PolicyName("p"), features=("a",)))
    field = data.draw(st.sampled_from([*declared, "surprise"]))
    told = None
    try:
        parse_spec({**declared, field: value})
    except SpecError as error:
        told = error.violations
    assert told is None or (told and all(v.message for v in told))


def test_every_mistake_is_told_in_one_go() -> None:
    wrong = {
        "name": "Tips!",
        "features": ["a", "a"],
        "exploration": 2,
        "ridge": 0,
        "reward": {"range": [1, 0], "window": "91d", "outcomes": {"done": "yes"}},
        "limits": {"arms": 0},
        "colour": "red",
    }
    with pytest.raises(SpecError) as error:
        parse_spec(wrong)
    told = {".".join(map(str, v.path)) for v in error.value.violations}
    assert {"name", "exploration", "ridge", "reward.range", "reward.window", "reward.outcomes.done", "limits.arms", "colour"} <= told
    assert any(path.startswith("features") for path in told)


@pytest.mark.parametrize("name", ["", " a", "a:b", "{a}", "a\n", "x" * 129, "😀" * 65, "\ud800"])
def test_what_no_caller_could_name_is_no_name(name: str) -> None:
    for wrong in ({"scope": name}, {"arm": name}, {"features": ["a", name]}):
        with pytest.raises(SpecError, match="1 to 128 visible characters"):
            parse_spec({"name": "p", "features": ["a"], **wrong})
    assert parse_spec({"name": "p", "features": ["a"], "scope": "😀" * 64, "arm": "x" * 128})


@pytest.mark.parametrize(
    "file", sorted((ROOT / "policy_repo").glob("*.yaml")) + sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda f: f.stem
)
def test_the_policies_we_ship_are_policies(file: Any) -> None:
    assert parse_spec(yaml.safe_load(file.read_text())).name == file.stem


def test_the_seed_model_is_the_one_that_is_documented() -> None:
    tips = parse_spec(yaml.safe_load((ROOT / "policy_repo" / "tips.yaml").read_text()))
    assert (tips.feature_service, tips.scope, tips.arm_rule, tips.arm, tips.algorithm, tips.alpha) == (
        "tips_v1",
        "user_id",
        "fixed",
        "task",
        "linucb",
        1.0,
    )
    assert (tips.ridge, tips.exploration, tips.half_life_s, tips.interactions, tips.intercept) == (1.0, 0.05, None, (), False)
    assert tips.reward == RewardRules(-1, 1, {"done": 1, "snooze": 0, "dismiss": -1}, 7 * 86_400, 7 * 86_400, 0, "first")


BASE = PolicySpec(PolicyName("p"), features=("a", "b"), scope="user_id", arm_rule="fixed", arm="one")
FEATURES = [("a", "float64"), ("b", "float64")]


@pytest.mark.parametrize(
    "change",
    [{"algorithm": "lints"}, {"alpha": 9.0}, {"exploration": 0.5}, {"ridge": 7.0}, {"max_arms": 3}, {"idle_s": None}],
    ids=lambda change: next(iter(change)),
)
def test_what_only_reads_evidence_leaves_it_where_it_is(change: dict[str, Any]) -> None:
    assert namespace(replace(BASE, **change), FEATURES, []) == namespace(BASE, FEATURES, [])


@pytest.mark.parametrize(
    "change",
    [
        {"name": PolicyName("q")},
        {"interactions": (("a", "b"),)},
        {"intercept": True},
        {"impute": 1.0},
        {"impute": None},
        {"scope": None},
        {"arm": "two"},
        {"arm_rule": "candidate", "arm": None},
        {"half_life_s": 60.0},
        {"reward": RewardRules(default=None)},
        {"reward": RewardRules(window_s=60.0)},
        {"reward": RewardRules(aggregate="sum")},
    ],
    ids=str,
)
def test_what_shapes_the_sums_names_them_anew(change: dict[str, Any]) -> None:
    assert namespace(replace(BASE, **change), FEATURES, []) != namespace(BASE, FEATURES, [])


def test_the_order_and_types_of_features_and_the_version_of_a_transform_name_the_sums() -> None:
    transforms = [("age", 1), ("hour", 1)]
    names = [
        namespace(BASE, FEATURES, transforms),
        namespace(BASE, FEATURES[::-1], transforms),
        namespace(BASE, [("a", "float32"), ("b", "float64")], transforms),
        namespace(BASE, FEATURES, [("age", 2), ("hour", 1)]),
    ]
    assert len(set(names)) == 4
    assert namespace(BASE, FEATURES, transforms[::-1]) == names[0]
