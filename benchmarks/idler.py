"""Spends CPU on nothing, beside what is measured, with which it shares the machine alone. Run as ``python -m benchmarks.idler``.

Reads the part of a CPU to spend from now on, a line each; rests until the first, and ends with its stdin.
"""

from __future__ import annotations

import sys
import threading
import time

PERIOD_S = 0.1
"""It works in bursts, as a relay does."""
_OBJECTS = 4_000
"""Made and dropped at a time: with what they hold some megabytes, as of one who moves events."""


class Idler:
    """Spends the part of a CPU that it is told to; what others kept it from, later."""

    def __init__(self) -> None:
        self._part = 0.0
        self._told = threading.Event()

    def tell(self, part: float) -> None:
        """Spend so much from now on."""
        self._part = part
        self._told.set()

    def run(self) -> None:
        """For ever."""
        while True:
            self._told.clear()
            began, spent, part = time.monotonic(), time.thread_time(), self._part
            while not self._told.wait(PERIOD_S if part else None):
                while not self._told.is_set() and time.thread_time() - spent < part * (time.monotonic() - began):
                    _work()


def _work() -> int:
    made = [{"number": number, "text": str(number)} for number in range(_OBJECTS)]
    return sum(len(each) for each in made)


if __name__ == "__main__":
    idler = Idler()
    threading.Thread(target=idler.run, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        idler.tell(float(line))
