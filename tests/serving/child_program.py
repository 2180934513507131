"""A child that does as it is told: `idle` until SIGTERM, `stubborn` about it, `die` or `refuse` at its start, `die_ready` after it."""

from __future__ import annotations

import os
import signal
import sys
import threading

from serving import child


def main() -> int:
    behaviour, _, record = child.told().decode().strip().partition(" ")
    with open(record, "a") as file:
        file.write(f"{os.getpid()}\n")
    if behaviour == "die":
        return 3
    if behaviour == "refuse":
        return child.REFUSED
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: None if behaviour == "stubborn" else stopped.set())
    child.outlive_parent_by(0.5)
    child.say_ready()
    print("printed by a library")
    if behaviour == "die_ready":
        return 3
    stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
