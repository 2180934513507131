"""The demo's tables: how digits were read, what each policy earned, how long calls took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.demo_stats import Claim, interval, percentile_ms, share
from policies.types import Floats


def digits_table(right: Floats, parts: int = 4) -> RenderableType:
    """Share of digits read right, part by part and in all (chance: 0.1).

    Args:
        right: (images,) 1 where a digit was read right, in order.
    """
    table = _table("images", "read right (95 %)")
    ends = np.linspace(0, len(right), parts + 1).astype(int).tolist()
    for first, end in pairwise(ends):
        table.add_row(f"{first + 1:,} to {end:,}", str(share(int(right[first:end].sum()), end - first)))
    table.add_row("all", str(share(int(right.sum()), len(right))), style="bold")
    return _titled(f"Digits: {len(right):,} images, each seen once; guessing gets 0.100", table)


def rewards_table(rewards: Mapping[str, Floats], best: float) -> RenderableType:
    """Reward per decision of each policy, the best first, under the best possible.

    Args:
        rewards: (n, R) by policy.
        best: expected reward of the best possible choices.
    """
    count, rounds = next(iter(rewards.values())).shape
    late = max(1, rounds // 4)
    table = _table("policy", "reward per decision (95 %)", "of the best", f"last {late} tips")
    table.add_row("best possible", f"{best:.3f}" + " " * 8, "100 %", "", style="dim")
    for policy, earned in sorted(rewards.items(), key=lambda item: -item[1].mean()):
        whole, end = interval(earned.mean(axis=1)), interval(earned[:, -late:].mean(axis=1))
        table.add_row(policy, str(whole), f"{100 * whole.mean / best:.0f} %", str(end))
    return _titled(f"Tips: {count} people, {rounds} tips each from every policy, at the same moments", table)


def claims_table(claims: Sequence[Claim]) -> RenderableType:
    """Differences between policies, paired by person, and whether the whole interval lies above zero."""
    table = _table("does", "by how much (95 %)", "shown")
    for claim in claims:
        verdict = Text("yes", "bold green") if claim.holds else Text("no", "bold red")
        table.add_row(f"{claim.better} beat {claim.worse}?", f"{claim.difference.mean:+.3f} ± {claim.difference.half:.3f}", verdict)
    return _titled("Who beats whom, person by person", table)


def latency_table(durations_s: Mapping[str, Mapping[str, Sequence[float]]], in_flight: Mapping[str, int]) -> RenderableType:
    """p50 and p99 of each method in each game, in milliseconds, as the caller saw them.

    Args:
        durations_s: of every call, by game and method.
        in_flight: by game, how many calls were under way at once.
    """
    table = _table("game", "method", "calls", "at once", "p50 ms", "p99 ms")
    for game, methods in durations_s.items():
        for method, durations in methods.items():
            p50, p99 = (f"{percentile_ms(np.asarray(durations), q):.1f}" for q in (50, 99))
            table.add_row(game, method, f"{len(durations):,}", str(in_flight[game]), p50, p99)
    return _titled("Calls as the caller saw them, who shares this machine with the server", table)


def verdict(claims: Iterable[Claim]) -> Text:
    """The demo in one line."""
    failed = [claim for claim in claims if not claim.holds]
    if not failed:
        return Text("Learning pays, and knowing the hour pays more: every interval lies above zero.", "bold green")
    return Text("Not shown: " + "; ".join(f"that {claim.better} beats {claim.worse}" for claim in failed) + ".", "bold red")


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="right")
    return table


def _titled(title: str, table: Table) -> Group:
    return Group(Text(title, "bold"), table)
