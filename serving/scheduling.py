"""Whom a worker's helper threads may interrupt. Linux can be told; elsewhere nothing changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads_give_way() -> Iterator[None]:
    """Threads begun in this block, and those they begin, wait for the CPU instead of taking it from whoever runs.

    gRPC's threads wake for every frame. By default they may interrupt the event loop in the middle of a group of decisions, to hand it
    what it will look at only afterwards. As SCHED_BATCH (sched(7)) they get as much CPU, a little later and more of it at once. Where the
    system does not allow it, or runs this process by another policy than its default, all stays as it is.
    """
    if sys.platform == "linux" and _set_policy(os.SCHED_OTHER, os.SCHED_BATCH):
        try:
            yield
        finally:
            _set_policy(os.SCHED_BATCH, os.SCHED_OTHER)
    else:
        yield


if sys.platform == "linux":

    def _set_policy(before: int, policy: int) -> bool:
        """Change this thread's policy, if it is what it should be; whether it has been changed."""
        try:
            if os.sched_getscheduler(0) != before:
                return False
            os.sched_setscheduler(0, policy, os.sched_param(0))
        except OSError:  # a sandbox may forbid it
            return False
        return True
