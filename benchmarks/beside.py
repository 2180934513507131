"""A Score beside those who move events, and beside others who share nothing with the server but the machine: to tell ours from its."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

import psutil
import redis

from benchmarks.cells import Cell, cpu_s
from benchmarks.entries import waiting
from benchmarks.load import BenchmarkError

Scoring = Callable[[int], Cell]
_MOVED_S = 60


class Beside:
    """Who is busy beside a server: those who move its events; or, in the place of each of them, one who spends as much CPU on nothing.

    Args:
        movers: relay, sink and broker.
        idlers: as many of `benchmarks.idler`.
    """

    def __init__(self, movers: Sequence[psutil.Process], idlers: Sequence[subprocess.Popen[str]]) -> None:
        self._movers, self._idlers = movers, idlers
        self._parts = [0.0] * len(movers)
        """Of a CPU, that each of them spent the last time."""

    def moving(self, score: Scoring, outbox: redis.Redis) -> Scoring:
        """Scores while events are moved; over once all are, else they would slow what is measured next.

        Raises:
            BenchmarkError: they are not.
        """

        def scored(calls: int) -> Cell:
            before = [cpu_s([mover]) for mover in self._movers]
            cell = score(calls)
            self._parts = [(cpu_s([mover]) - was) / cell.wall_s for mover, was in zip(self._movers, before, strict=True)]
            deadline = time.monotonic() + _MOVED_S
            while waiting(outbox):
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"relay and sink do not keep what is in the outbox within {_MOVED_S} s")
                time.sleep(0.05)
            return cell

        return scored

    def idle(self, score: Scoring) -> Scoring:
        """Scores while as much is spent on nothing as they who move events spent the last time."""

        def scored(calls: int) -> Cell:
            self._tell(self._parts)
            cell = score(calls)
            self._tell([0.0] * len(self._idlers))
            return cell

        return scored

    def _tell(self, parts: Sequence[float]) -> None:
        for idler, part in zip(self._idlers, parts, strict=True):
            print(part, file=idler.stdin, flush=True)
