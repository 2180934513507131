from __future__ import annotations

import numpy as np
import pytest

from cli.demo_stats import Claim, Interval, claims, interval, moving_share, percentile_ms, share


def test_interval_is_the_mean_and_1_96_standard_errors() -> None:
    found = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.mean == 2.5
    assert found.half == pytest.approx(1.959963984540054 * np.sqrt(5 / 3) / 2)
    assert (found.low, found.high) == (2.5 - found.half, 2.5 + found.half)


def test_share_is_wilsons_interval() -> None:
    # z² = 3.841459: centre (8 + z²/2)/(10 + z²), by hand
    found = share(8, 10)
    assert found.mean == pytest.approx(0.716740, abs=1e-6)
    assert found.low == pytest.approx(0.490162, abs=1e-5)
    assert found.high == pytest.approx(0.943318, abs=1e-5)


def test_share_stays_within_zero_and_one() -> None:
    assert share(0, 5).low == pytest.approx(0.0, abs=1e-12)
    assert share(5, 5).high == pytest.approx(1.0, abs=1e-12)


def test_a_claim_holds_only_when_its_whole_interval_is_above_zero() -> None:
    assert Claim("a", "b", Interval(0.2, 0.1)).holds
    assert not Claim("a", "b", Interval(0.1, 0.1)).holds
    assert not Claim("a", "b", Interval(-0.2, 0.1)).holds


def test_claims_pair_people_so_that_what_they_have_in_common_cancels() -> None:
    moods = np.linspace(-5.0, 5.0, 50)[:, None] * np.ones((1, 4))
    rewards = {"tips_uniform": moods, "tips": moods + 0.1, "tips_hours": moods + 0.3}
    found = {(c.better, c.worse): c for c in claims(rewards)}
    assert {pair: round(c.difference.mean, 9) for pair, c in found.items()} == {
        ("tips_hours", "tips"): 0.2,
        ("tips_hours", "tips_uniform"): 0.3,
        ("tips", "tips_uniform"): 0.1,
    }
    assert all(c.holds for c in found.values())
    assert not any(c.holds for c in claims({**rewards, "tips_hours": moods, "tips": moods}))


def test_moving_share_looks_at_each_window_alone() -> None:
    means, halves = moving_share(np.array([0.0, 0.0, 1.0, 1.0]), 2)
    assert means.tolist() == [share(k, 2).mean for k in (0, 1, 2)]
    assert halves.tolist() == [share(k, 2).half for k in (0, 1, 2)]


def test_percentile_is_in_milliseconds() -> None:
    assert percentile_ms(np.array([0.001, 0.002, 0.003]), 50) == 2.0
