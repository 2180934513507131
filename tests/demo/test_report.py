from __future__ import annotations

import numpy as np
from rich.console import Console, RenderableType

from cli.demo_report import claims_table, digits_table, latency_table, rewards_table, verdict
from cli.demo_stats import Claim, Interval, interval, share

SHOWN = Claim("tips_hours", "tips", Interval(0.2, 0.05))
NOT_SHOWN = Claim("tips", "tips_uniform", Interval(0.1, 0.15))


def rows(table: RenderableType) -> list[list[str]]:
    """The words of each line that says something, as printed 80 wide."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines() if line.strip(" ─")]


def test_digits_are_shown_part_by_part_and_in_all() -> None:
    right = np.repeat([0.0, 1.0], [50, 50])
    assert rows(digits_table(right, parts=2))[2:] == [
        ["1", "to", "50", *str(share(0, 50)).split()],
        ["51", "to", "100", *str(share(50, 50)).split()],
        ["all", *str(share(50, 100)).split()],
    ]


def test_the_best_policy_comes_first_under_the_best_possible() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.1, 0.01, (6, 8)), rng.normal(0.4, 0.01, (6, 8))
    whole, late = interval(high.mean(axis=1)), interval(high[:, -2:].mean(axis=1))
    found = rows(rewards_table({"low": low, "high": high}, best=0.8))
    assert [row[0] for row in found[2:]] == ["best", "high", "low"]
    assert found[2] == ["best", "possible", "0.800", "100", "%"]
    assert found[3] == ["high", *str(whole).split(), f"{100 * whole.mean / 0.8:.0f}", "%", *str(late).split()]


def test_a_claim_says_by_how_much_and_whether_it_was_shown() -> None:
    assert rows(claims_table([SHOWN, NOT_SHOWN]))[2:] == [
        ["tips_hours", "beat", "tips?", "+0.200", "±", "0.050", "yes"],
        ["tips", "beat", "tips_uniform?", "+0.100", "±", "0.150", "no"],
    ]


def test_latencies_are_told_by_game_and_method_in_milliseconds() -> None:
    calls = {"digits": {"Score": [0.001, 0.002, 0.003]}, "tips": {"Reward": [0.004] * 1000}}
    assert rows(latency_table(calls, {"digits": 1, "tips": 8}))[2:] == [
        ["digits", "Score", "3", "1", "2.0", "3.0"],
        ["tips", "Reward", "1,000", "8", "4.0", "4.0"],
    ]


def test_the_verdict_names_what_was_not_shown() -> None:
    assert "every interval lies above zero" in verdict([SHOWN]).plain
    assert verdict([SHOWN, NOT_SHOWN]).plain == "Not shown: that tips beats tips_uniform."
