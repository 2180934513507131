"""The picture of the demo: digits read ever better, and what four policies earn and forgo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from cli.demo_stats import Interval, interval, moving_share
from cli.plot_frame import INK, frame
from policies.types import Floats, Ints

COLOURS = {"tips_hours": "#0072B2", "tips_greedy": "#009E73", "tips": "#D55E00", "tips_uniform": "#767676"}
"""Okabe and Ito's, which colour-blind people tell apart."""


def save(path: Path, rewards: Mapping[str, Floats], best: Floats, right: Floats) -> None:
    """Draw and save as PNG.

    Args:
        rewards: (n, R) by policy.
        best: (n, R) expected reward of the best possible choices.
        right: (images,) 1 where a digit was read right, in order.
    """
    figure = Figure(figsize=(15.0, 5.0), dpi=120, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
    FigureCanvasAgg(figure)  # without a window, whatever the environment would choose
    digits, reward, regret = figure.subplots(1, 3)
    draw_digits(digits, right)
    draw_reward(reward, rewards, best)
    draw_regret(regret, rewards, best)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def draw_digits(axes: Axes, right: Floats) -> None:
    """Share of the last images read right, with 95 % bands, and the share of all so far."""
    window = min(100, len(right) // 6)
    images = np.arange(window, len(right) + 1)
    means, halves = moving_share(right, window)
    so_far = np.cumsum(right)[window - 1 :] / images
    _frame(axes, "Digits: share read right", f"{len(right):,} images, each seen once, ten arms", "images seen")
    _band(axes, images, [Interval(m, h) for m, h in zip(means.tolist(), halves.tolist(), strict=True)], COLOURS["tips_hours"])
    axes.plot(images, so_far, color=COLOURS["tips"], linewidth=2.2)
    _reference(axes, 0.1, "guessing 0.10")
    axes.set_ylim(0.0, 1.02)
    _label_ends(
        axes, len(right), {f"last {window}": (float(means[-1]), COLOURS["tips_hours"]), "all so far": (float(so_far[-1]), COLOURS["tips"])}
    )


def draw_reward(axes: Axes, rewards: Mapping[str, Floats], best: Floats) -> None:
    """Mean reward over the people, smoothed over a few tips, with 95 % bands."""
    count, rounds = best.shape
    window = max(2, rounds // 5)
    tips = np.arange(window, rounds + 1)
    _frame(axes, "Tips: reward per decision", f"{count} people, mean of {window} tips in a row", "tips given to each person")
    ends = {}
    for policy, earned in rewards.items():
        bands = [interval(earned[:, end - window : end].mean(axis=1)) for end in tips]
        _band(axes, tips, bands, COLOURS[policy])
        ends[policy] = (bands[-1].mean, COLOURS[policy])
    ceiling = float(best.mean())
    _reference(axes, ceiling, f"best possible {ceiling:.2f}")
    axes.set_ylim(top=ceiling + 0.1)
    _label_ends(axes, rounds, ends)


def draw_regret(axes: Axes, rewards: Mapping[str, Floats], best: Floats) -> None:
    """What each person has missed so far, compared with the best possible choices, with 95 % bands."""
    count, rounds = best.shape
    tips = np.arange(rounds + 1)
    _frame(axes, "Tips: regret so far", f"{count} people, reward missed by each; flatter is better", "tips given to each person")
    ends = {}
    for policy, earned in rewards.items():
        missed = np.cumsum(best - earned, axis=1)
        bands = [Interval(0.0, 0.0), *(interval(missed[:, moment]) for moment in range(rounds))]
        _band(axes, tips, bands, COLOURS[policy])
        ends[policy] = (bands[-1].mean, COLOURS[policy])
    axes.set_ylim(bottom=0.0)
    _label_ends(axes, rounds, ends)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """The ascending values, moved as far as it takes to lie `gap` apart: close neighbours spread evenly around their middle.

    Args:
        values: ascending.
        gap: least distance between two of the answer.
    """
    groups = [[value] for value in values]
    while True:
        spread = [_spread(group, gap) for group in groups]
        close = [i for i, (below, above) in enumerate(pairwise(spread)) if above[0] - below[-1] < gap * (1 - 1e-9)]
        if not close:
            return [place for group in spread for place in group]
        groups[close[0] : close[0] + 2] = [groups[close[0]] + groups[close[0] + 1]]


def _spread(group: Sequence[float], gap: float) -> list[float]:
    middle = sum(group) / len(group)
    return [middle + gap * (i - (len(group) - 1) / 2) for i in range(len(group))]


def _band(axes: Axes, x: Ints, bands: Sequence[Interval], colour: str) -> None:
    axes.fill_between(x, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.16, linewidth=0.0)
    axes.plot(x, [b.mean for b in bands], color=colour, linewidth=2.2)


def _label_ends(axes: Axes, x: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """End the axis at `x` and name each line there, none upon another: nobody has to match colours with a legend."""
    axes.set_xlim(0.0, x)
    low, high = axes.get_ylim()
    ordered = sorted(ends.items(), key=lambda end: end[1][0])
    places = apart([value for _, (value, _) in ordered], 0.055 * (high - low))
    for (name, (_, colour)), place in zip(ordered, places, strict=True):
        axes.annotate(name, (x, place), (7, 0), textcoords="offset points", va="center", color=colour, fontsize=11, fontweight="bold")


def _reference(axes: Axes, y: float, text: str) -> None:
    axes.axhline(y, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.annotate(text, (0.0, y), (4, 5), xycoords=("axes fraction", "data"), textcoords="offset points", color=INK, fontsize=10)


def _frame(axes: Axes, title: str, subtitle: str, x: str) -> None:
    frame(axes, title, subtitle, x)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
