"""The picture of the demo: how rewards grow with what was learned, and how many digits are read right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cli.demo_stats import Interval, interval, moving_share
from policies.types import Floats, Ints

INK, MUTED = "#222222", "#767676"
COLOURS = {"tips_hours": "#0072B2", "tips_greedy": "#009E73", "tips": "#E69F00", "tips_uniform": "#767676"}
"""Okabe and Ito's, which colour-blind people tell apart."""


def save(path: Path, rewards: Mapping[str, Floats], best: float, right: Floats) -> None:
    """Draw and save as PNG.

    Args:
        rewards: (n, R) by policy.
        best: expected reward of the best possible choices.
        right: (images,) 1 where a digit was read right, in order.
    """
    mpl.use("Agg")
    figure = Figure(figsize=(12.0, 5.0), dpi=150, layout="constrained")
    people_axes, digit_axes = figure.subplots(1, 2)
    draw_people(people_axes, rewards, best)
    draw_digits(digit_axes, right)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def draw_people(axes: Axes, rewards: Mapping[str, Floats], best: float) -> None:
    """Mean reward over the people, smoothed over a few moments, with 95 % bands."""
    count, rounds = next(iter(rewards.values())).shape
    window = max(2, rounds // 6)
    moments = np.arange(window, rounds + 1)
    _frame(axes, f"Tips: {count} people, each served by four policies", f"moment (mean of {window})", "reward per decision")
    for policy, earned in sorted(rewards.items(), key=lambda item: -item[1].mean()):
        bands = [interval(earned[:, end - window : end].mean(axis=1)) for end in moments]
        _band(axes, moments, bands, COLOURS[policy], policy)
    axes.axhline(best, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(f"best possible {best:.2f}", (moments[0], best), (0, 4), textcoords="offset points", color=INK, fontsize=9)
    axes.set_ylim(top=best + 0.12)


def draw_digits(axes: Axes, right: Floats) -> None:
    """Share of the last images read right, with 95 % bands, and the share of all so far."""
    window = min(100, len(right) // 2)
    images = np.arange(window, len(right) + 1)
    means, halves = moving_share(right, window)
    _frame(axes, f"Digits: {len(right):,} images, each seen once", "images seen", "share read right")
    _band(axes, images, [Interval(m, h) for m, h in zip(means.tolist(), halves.tolist(), strict=True)], "#0072B2", f"last {window}")
    so_far = np.cumsum(right)[window - 1 :] / images
    axes.plot(images, so_far, color="#D55E00", linewidth=2.0)
    _label(axes, images[-1], float(so_far[-1]), "all so far", "#D55E00")
    axes.axhline(0.1, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate("chance 0.10", (images[0], 0.1), (0, 4), textcoords="offset points", color=INK, fontsize=9)
    axes.set_ylim(0.0, 1.0)


def _band(axes: Axes, x: Floats | Ints, bands: list[Interval], colour: str, label: str) -> None:
    axes.fill_between(x, [b.low for b in bands], [b.high for b in bands], color=colour, alpha=0.15, linewidth=0.0)
    axes.plot(x, [b.mean for b in bands], color=colour, linewidth=2.0)
    _label(axes, float(x[-1]), bands[-1].mean, label, colour)


def _label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Name a line at its end: nobody has to match colours with a legend."""
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", color=colour, fontsize=10, fontweight="bold")


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.set_xlabel(x, color=MUTED)
    axes.set_ylabel(y, color=MUTED)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.tick_params(colors=MUTED, length=0)
    axes.margins(x=0.02)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
