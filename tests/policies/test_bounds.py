"""Whatever a declaration may say, and whatever is learned under it, every score and every sum is a number."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import bounds
from policies.choose import Slates, choose
from policies.evidence import add_decision, add_reward, decayed
from policies.parse import SpecError, parse_spec
from policies.posterior import posterior, ridge_prior
from policies.rewards import Tally, fold
from policies.spec import Aggregate, Algorithm, PolicySpec
from policies.types import HEADER, Evidence, Floats, no_evidence
from policies.vector import design_matrix, dimension
from tests.policies.build import arms

NAMES = tuple(f"f{i}" for i in range(4))
BASE: dict[str, Any] = {"name": "p", "features": list(NAMES)}
DAY_US, CENTURY_US = 86_400 * 10**6, 36_500 * 86_400 * 10**6
MOST_DECISIONS = 1e13

POSITIVE = (5e-324, 1e-300, 1e-100, 1e-9, 1e-3, 1.0, 60.0, 1e3, 1e6, 1e9, 1e100, 1e300, 1.7e308)
ANY = (*(-v for v in POSITIVE), 0.0, *POSITIVE)


def parses(**said: Any) -> bool:
    try:
        parse_spec({**BASE, **said})
    except SpecError:
        return False
    return True


# What single fields may be, of the extremes there are: asked of the parser, so that these tests fail when it lets too much pass.
ALPHAS = [v for v in POSITIVE if parses(algorithm={"linucb": {"alpha": v}})]
RIDGES = [v for v in POSITIVE if parses(ridge=v)]
HALF_LIVES = [None, *(v for v in POSITIVE if parses(half_life=v))]
IMPUTED = [v for v in ANY if parses(on_missing={"impute": v})]
RANGES = [(low, high) for low in ANY for high in ANY if low < high and parses(reward={"range": [low, high], "default": None})]


@st.composite
def specs(draw: st.DrawFn) -> PolicySpec:
    """Policies at the edges of what is let pass."""
    algorithm: Algorithm = draw(st.sampled_from(get_args(Algorithm)))
    low, high = draw(st.sampled_from(RANGES))
    return parse_spec(
        {
            **BASE,
            "algorithm": {algorithm: {"alpha": draw(st.sampled_from(ALPHAS))}} if algorithm in ("linucb", "lints") else algorithm,
            "ridge": draw(st.sampled_from(RIDGES)),
            "exploration": draw(st.sampled_from([0, 5e-324, 0.5, 1])),
            "half_life": draw(st.sampled_from(HALF_LIVES)),
            "intercept": draw(st.booleans()),
            "interactions": draw(st.sampled_from([[], [["f0", "f1"]], [["f0"] * bounds.MAX_FACTORS, ["f2", "f3", "f3"]]])),
            "on_missing": {"impute": draw(st.sampled_from(IMPUTED))},
            "reward": {
                "range": [low, high],
                "default": draw(st.sampled_from([None, low, high])),
                "aggregate": draw(st.sampled_from(get_args(Aggregate))),
            },
        }
    )


@st.composite
def slates(draw: st.DrawFn, spec: PolicySpec, rows: int) -> Floats:
    """Slates that the service lets pass: every number within bounds, products included."""
    number = st.sampled_from([v for v in ANY if abs(v) <= bounds.MAX_FEATURE] + [np.nan]) | st.floats(-1e6, 1e6)
    raw = np.array(draw(st.lists(st.tuples(*[number] * len(NAMES)), min_size=rows, max_size=rows)))
    X = design_matrix(raw, NAMES, spec)
    return np.clip(X, -bounds.MAX_FEATURE, bounds.MAX_FEATURE)


@settings(max_examples=400)
@given(st.data())
def test_every_score_is_a_number_after_any_decisions_and_rewards(data: st.DataObject) -> None:
    spec = data.draw(specs())
    d, m = dimension(spec, len(NAMES)), 2
    rules = spec.reward
    sums, now = no_evidence(arms(m), d), 1_700_000_000_000_000
    for k in range(data.draw(st.integers(0, 6), label="decisions")):
        arm, x = k % m, data.draw(slates(spec, 1))[0]
        now += data.draw(st.sampled_from([0, 1, DAY_US, CENTURY_US]))
        row = add_decision(sums.rows[arm], x, now, spec.half_life_s, rules.default)
        decided, before, tally = now, rules.default, Tally()
        for value in data.draw(st.lists(st.sampled_from([rules.low, rules.high]), max_size=3), label="rewards"):
            now += data.draw(st.sampled_from([0, 1, DAY_US]))
            tally = fold(rules.aggregate, tally, value)
            row = add_reward(row, x, now, spec.half_life_s, decided_at_us=decided, old=before, new=tally.value or 0.0)
            before = tally.value
        sums.rows[arm] = row
    sums.rows[:, 3:] *= data.draw(st.sampled_from([1.0, 1e6, MOST_DECISIONS]), label="as often")
    seen = decayed(sums, now + data.draw(st.sampled_from([0, DAY_US, CENTURY_US])), spec.half_life_s)
    assert np.isfinite(seen.rows).all()

    X = data.draw(slates(spec, 3))
    prior = ridge_prior(m, d, spec.ridge)
    belief = posterior(prior, seen)
    choice = choose(spec, belief, Slates(X, [np.arange(m)], [np.array([0, 1, 0])]), np.random.default_rng(3))
    told = np.stack([choice.scores.score, choice.scores.mean, choice.scores.uncertainty, choice.propensities])
    assert np.isfinite(told).all()
    assert choice.propensities.sum() == pytest.approx(1.0, rel=1e-12)
    assert np.isfinite(belief.theta).all()


@pytest.mark.parametrize("d", [1, 5, 17, 128])
@pytest.mark.parametrize("ridge", [bounds.MIN_RIDGE, 1.0, bounds.MAX_RIDGE])
@pytest.mark.parametrize("bent", [0.0, 1e-16, 1e-9, MOST_DECISIONS / 2**53], ids=lambda share: f"bent by {share:.0e}")
def test_sums_that_rounding_has_bent_still_score(d: int, ridge: float, bent: float) -> None:
    # One vector, learned from as often as may be, each number of A off by as much as so many additions round.
    rng = np.random.default_rng(d)
    x = bounds.MAX_FEATURE * rng.uniform(0.1, 1.0, d)
    sums = no_evidence(arms(1), d)
    sums.rows[0] = add_reward(sums.rows[0], x, 1, None, decided_at_us=1, old=None, new=bounds.MAX_REWARD)
    sums.rows[:, 3:] *= MOST_DECISIONS
    A = sums.rows[:, HEADER + d :]
    A *= 1.0 + bent * rng.uniform(-1.0, 1.0, A.shape)
    spec = parse_spec({"name": "p", "features": [f"f{i}" for i in range(d)], "algorithm": {"lints": {"alpha": bounds.MAX_ALPHA}}})
    belief = posterior(ridge_prior(1, d, ridge), Evidence(sums.arms, sums.rows, d))
    choice = choose(spec, belief, Slates(np.stack([x, -x]), [np.array([0])], [np.array([0, 0])]), rng)
    assert np.isfinite(choice.scores.score).all()
    assert choice.scores.mean[0] == pytest.approx(bounds.MAX_REWARD, rel=max(0.05, 4 * bent * d))


@pytest.mark.parametrize(
    ("said", "where", "why"),
    [
        ({"algorithm": {"linucb": {"alpha": 1e308}}}, "algorithm.linucb.alpha", "must be a number from 0 to 1e+09; got 1e+308"),
        ({"algorithm": {"lints": {"alpha": -1}}}, "algorithm.lints.alpha", "must be a number from 0 to 1e+09; got -1"),
        ({"ridge": 5e-324}, "ridge", "must be a number from 1e-09 to 1e+09; 1 is usual, more trusts the prior longer; got 5e-324"),
        ({"ridge": 1e10}, "ridge", "must be a number from 1e-09 to 1e+09"),
        ({"half_life": 5e-324}, "half_life", "must be null (never) or a duration from 1s to 36500d, written like 7d"),
        ({"half_life": "0.5s"}, "half_life", "from 1s to 36500d"),
        ({"reward": {"range": [0, 1e308]}}, "reward.range.1", "must be a number within ±1e+09; count rewards in a larger unit if you need"),
        ({"reward": {"range": [-1e308, 1]}}, "reward.range.0", "must be a number within ±1e+09"),
        ({"reward": {"window": 5e-324}}, "reward.window", "must be a duration from 1s to 90d"),
        ({"reward": {"late_grace": "366d"}}, "reward.late_grace", "must be a duration from 0 to 365d"),
        ({"on_missing": {"impute": 1e7}}, "on_missing.impute", "not present, within ±1e+06 like every feature; got 10000000.0"),
        ({"limits": {"idle": 5e-324}}, "limits.idle", "must be null (never) or a duration from 1h to 36500d"),
        ({"interactions": [["f0"] * 17]}, "interactions.0", "must be a list of 2 to 16 feature names"),
    ],
)
def test_what_is_out_of_bounds_is_told_with_its_bounds(said: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec({**BASE, **said})
    told = {".".join(map(str, v.path)): v.message for v in error.value.violations}
    assert next(iter(told)) == where
    assert why in told[where]


@pytest.mark.parametrize(
    "said",
    [
        {"algorithm": {"linucb": {"alpha": 0}}},
        {"algorithm": {"linucb": {"alpha": 1e9}}},
        {"ridge": 1e-9},
        {"ridge": 1e9},
        {"half_life": "1s"},
        {"half_life": "36500d"},
        {"reward": {"range": [-1e9, 1e9], "outcomes": {"won": 1e9}, "default": -1e9}},
        {"reward": {"window": "1s", "late_grace": 0}, "limits": {"idle": "1h"}},
        {"reward": {"window": "90d", "late_grace": "365d"}, "limits": {"idle": None}},
        {"on_missing": {"impute": -1e6}},
    ],
    ids=str,
)
def test_the_bounds_themselves_are_within_them(said: dict[str, Any]) -> None:
    assert parses(**said)
