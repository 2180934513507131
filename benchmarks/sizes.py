"""How long and how far a benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Args:
        rounds: times everything is measured, in alternation.
        cell_s: seconds one measurement takes, about.
        users: people of the sample, each with 12 tasks.
        candidates: how many to choose from, to see what a further one costs.
        people: people with evidence, to see what more of them cost.
        requests: after which a worker's memory is looked at.
        events: moved by relay and sink each time, about.
        sample: decisions those events are copies of.
        audited: decisions of the log that is audited.
        rates: parts of the saturation rate at which latency is measured.
    """

    rounds: int = 7
    cell_s: float = 1.0
    users: int = 300
    candidates: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    people: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    requests: int = 1_000_000
    events: int = 20_000
    sample: int = 3_000
    audited: int = 1_000_000
    rates: tuple[float, ...] = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9)


FULL = Sizes()
QUICK = Sizes(rounds=5, cell_s=0.4)
TINY = Sizes(
    rounds=2,
    cell_s=0.05,
    users=45,
    candidates=(1, 10, 500),
    people=(100, 200, 400),
    requests=2_000,
    events=400,
    sample=60,
    audited=500,
    rates=(0.25, 0.5),
)
"""To see that everything runs; its figures mean nothing."""
