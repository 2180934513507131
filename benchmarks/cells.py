"""One measurement of one server, and rounds of several in alternation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import psutil

from policies.types import Floats

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Rounds = Generator[None, None, T]
"""What is measured in rounds: pauses between them, and returns what came of all."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One load on one server.

    Args:
        seconds: (calls,) how long each call took, as its sender saw it.
        replies: (calls,) or none, when the generator keeps none.
        wall_s: it took in all.
        cpu_s: CPU the server's workers spent meanwhile.
        store_cpu_s: CPU its stores spent meanwhile, in all their threads.
        units: what was done in all: decisions, or rewards; several a call in batches.
        generator: that sent it.
        late_s: (calls,) how much later than meant each began; None in a closed loop.
    """

    seconds: Floats
    replies: Sequence[bytes]
    wall_s: float
    cpu_s: float
    store_cpu_s: float
    units: int
    generator: str
    late_s: Floats | None = None

    @property
    def cpu_us(self) -> float:
        """CPU of the workers for one unit, in microseconds."""
        return 1e6 * self.cpu_s / self.units

    @property
    def store_cpu_us(self) -> float:
        """CPU of the stores for one unit, in microseconds."""
        return 1e6 * self.store_cpu_s / self.units

    def ms(self, percent: float) -> float:
        """Percentile of the calls' times, in milliseconds."""
        return 1e3 * float(np.percentile(self.seconds, percent))


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is measured in every round.

    Args:
        run: measure it with so many calls.
        least: calls that one measurement needs at least.
    """

    run: Callable[[int], Cell]
    least: int = 32


def spread(kinds: Mapping[K, Kind], rounds: int, cell_s: float, tell: Callable[[str], None]) -> Rounds[dict[K, list[Cell]]]:
    """Measure all kinds round by round, so that what is compared ran within seconds; each round begins with another one.

    Pauses after each round but the last, for as long as others want the machine.

    Args:
        rounds: how many.
        cell_s: seconds for one measurement: it gets as many calls as would have filled them the last time.
        tell: told of each round that is over.
    """
    names = list(kinds)
    cells: dict[K, list[Cell]] = {name: [] for name in names}
    last = {name: kinds[name].run(4 * kinds[name].least) for name in names}
    for r in range(rounds):
        first = r % len(names)
        for name in names[first:] + names[:first]:
            calls = round(cell_s * len(last[name].seconds) / last[name].wall_s)
            last[name] = kinds[name].run(max(kinds[name].least, calls))
            cells[name].append(last[name])
        tell(f"round {r + 1} of {rounds}")
        if r + 1 < rounds:
            yield
    return cells


def alternate(kinds: Mapping[K, Kind], rounds: int, cell_s: float, tell: Callable[[str], None]) -> dict[K, list[Cell]]:
    """`spread` without pauses."""
    running = spread(kinds, rounds, cell_s, tell)
    while True:
        try:
            next(running)
        except StopIteration as ended:
            return cast(dict[K, list[Cell]], ended.value)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that processes have spent so far, in user and kernel, in all their threads."""
    return sum(map(_cpu_s, processes))


def _cpu_s(process: psutil.Process) -> float:
    if sys.platform == "linux":
        # clock_getcpuclockid(3), which Python does not offer: to the nanosecond, where cpu_times counts in steps of 10 ms.
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system
