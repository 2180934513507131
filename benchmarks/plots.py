"""Three pictures of a run: what load, candidates and people do to a Score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter

from benchmarks.rows import Row
from cli.plot_frame import MUTED, frame

MEDIAN, TAIL = "#0072B2", "#D55E00"
"""Okabe and Ito's, which colour-blind people tell apart."""


def save(folder: Path, rows: Mapping[str, Sequence[Row]]) -> list[Path]:
    """Draw what there are rows for, each as `performance-*.png`; returns the files."""
    drawn = []
    for measure, draw in (("latency", _load), ("candidates", _candidates), ("crowd", _people)):
        points = sorted((row for row in rows.get(measure, ()) if row.x is not None), key=lambda row: row.x or 0.0)
        if points:
            figure = Figure(figsize=(7.0, 4.2), dpi=120, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
            FigureCanvasAgg(figure)  # without a window, whatever the environment would choose
            draw(figure.subplots(), points)
            drawn.append(folder / f"performance-{measure}.png")
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(drawn[-1], format="png")
    return drawn


def _load(axes: Axes, points: Sequence[Row]) -> None:
    _frame(axes, "Latency of a Score against load", "one worker, calls at random moments, appendfsync always", "Scores a second", "ms")
    x = [row.x or 0.0 for row in points]
    for name, colour in (("p50", MEDIAN), ("p99", TAIL)):
        y = [row.beside[f"{name} ms"] for row in points]
        axes.plot(x, y, color=colour, linewidth=2.2, marker="o")
        axes.annotate(name, (x[-1], y[-1]), (7, 0), textcoords="offset points", va="center", color=colour, fontweight="bold")
    axes.set_xlim(left=0.0)
    axes.set_yscale("log")  # one stall would press all else to the ground
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _candidates(axes: Axes, points: Sequence[Row]) -> None:
    _frame(axes, "CPU of a Score against candidates", "of the worker; median and range of the rounds", "candidates", "µs")
    _line(axes, points)
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)


def _people(axes: Axes, points: Sequence[Row]) -> None:
    _frame(axes, "CPU of a Score against people", "with evidence in the store; median and range of the rounds", "people", "µs")
    _line(axes, points)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)


def _line(axes: Axes, points: Sequence[Row]) -> None:
    x = [row.x or 0.0 for row in points]
    axes.fill_between(x, [p.figure.least for p in points], [p.figure.greatest for p in points], color=MEDIAN, alpha=0.16, linewidth=0.0)
    axes.plot(x, [p.figure.median for p in points], color=MEDIAN, linewidth=2.2, marker="o")


def _frame(axes: Axes, title: str, subtitle: str, x: str, y: str) -> None:
    frame(axes, title, subtitle, x)
    axes.set_ylabel(y, color=MUTED, fontsize=10.5)
