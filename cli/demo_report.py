"""The demo's tables: what each policy earned, how digits were read, how long calls took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from rich.table import Table
from rich.text import Text

from cli.demo_stats import Claim, interval, percentile_ms, share
from policies.types import Floats


def rewards_table(rewards: Mapping[str, Floats], best: float) -> Table:
    """Reward per decision of each policy, the best first, under the best possible.

    Args:
        rewards: (n, R) by policy.
        best: expected reward of the best possible choices.
    """
    count, rounds = next(iter(rewards.values())).shape
    late = max(1, rounds // 3)
    table = _table(
        f"Tips: {count} people, {rounds} moments each", "policy", "reward per decision (95 %)", "of the best", f"last {late} moments"
    )
    table.add_row("best possible", f"{best:.3f}", "100 %", "", style="dim")
    for policy, earned in sorted(rewards.items(), key=lambda item: -item[1].mean()):
        whole = interval(earned.mean(axis=1))
        table.add_row(policy, str(whole), f"{whole.mean / best:.0%}", str(interval(earned[:, -late:].mean(axis=1))))
    return table


def claims_table(claims: Sequence[Claim]) -> Table:
    """Differences between policies, paired by person, and whether the whole interval lies above zero."""
    table = _table("Which is better (paired by person)", "difference", "reward per decision (95 %)", "shown")
    for claim in claims:
        verdict = Text("yes", "bold green") if claim.holds else Text("no", "bold red")
        table.add_row(f"{claim.better} - {claim.worse}", f"{claim.difference.mean:+.3f} ± {claim.difference.half:.3f}", verdict)
    return table


def digits_table(right: Floats, parts: int = 4) -> Table:
    """Share of digits read right, part by part and in all (chance: 10 %)."""
    table = _table(f"Digits: {len(right):,} images, ten arms, each image once", "images", "read right (95 %)")
    ends = np.linspace(0, len(right), parts + 1).astype(int).tolist()
    for first, end in pairwise(ends):
        table.add_row(f"{first + 1:,} to {end:,}", str(share(int(right[first:end].sum()), end - first)))
    table.add_row("all", str(share(int(right.sum()), len(right))), style="bold")
    return table


def latency_table(durations_s: Mapping[str, Sequence[float]]) -> Table:
    """p50 and p99 of each method, in milliseconds, as the caller saw them."""
    table = _table("Calls, as the caller saw them", "method", "calls", "p50 ms", "p99 ms")
    for method, durations in durations_s.items():
        seconds = np.asarray(durations)
        table.add_row(method, f"{len(seconds):,}", f"{percentile_ms(seconds, 50):.1f}", f"{percentile_ms(seconds, 99):.1f}")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="right")
    return table
