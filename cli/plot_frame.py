"""What all our pictures look like: titles to the left, faint lines across, no box around."""

from __future__ import annotations

from matplotlib.axes import Axes

INK, MUTED, FAINT = "#222222", "#666666", "#E6E6E6"


def frame(axes: Axes, title: str, subtitle: str, x: str) -> None:
    """Title and subtitle of a picture, and the name of its horizontal axis."""
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=26)
    axes.annotate(subtitle, (0.0, 1.0), (0, 9), xycoords="axes fraction", textcoords="offset points", color=MUTED, fontsize=10.5)
    axes.set_xlabel(x, color=MUTED, fontsize=10.5)
    axes.grid(axis="y", color=FAINT, linewidth=0.9)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
