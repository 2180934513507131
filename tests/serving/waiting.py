"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.02


async def eventually(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 30.0, what: str = "") -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while True:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or condition}"
        await asyncio.sleep(POLL_S)


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
