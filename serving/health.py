"""Whether this worker can serve, as told to load balancers: only while the store answers and what to serve is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from serving.ports import Unavailable

log = structlog.get_logger()

REMIND_S = 30.0
"""How often the log repeats that the store is still away."""


async def watch_health(
    check: Callable[[], Awaitable[None]], publish: Callable[[bool], Awaitable[None]], every_s: float, timeout_s: float
) -> NoReturn:
    """Look whether the worker can serve, and tell of it, until cancelled. The first look is told whatever it found.

    Args:
        check: returns when the worker can serve; raises Unavailable when it cannot.
        publish: told of every change.
        every_s: seconds from one look to the next. A look writes: on a slow disk, looks without a pause would keep it busy by themselves.
        timeout_s: how long a look may take; one that takes longer is as one that was refused.
    """
    loop = asyncio.get_running_loop()
    healthy: bool | None = None
    since = reminded = loop.time()
    while True:
        reason = await _trouble(check, timeout_s)
        now = loop.time()
        if healthy is not (reason is None):
            healthy = reason is None
            await publish(healthy)
            if reason is None:
                log.info("serving", after_s=round(now - since, 1))
            else:
                log.error("not serving", reason=reason)
            since = reminded = now
        elif reason is not None and now - reminded >= REMIND_S:
            log.error("still not serving", reason=reason, for_s=round(now - since))
            reminded = now
        await asyncio.sleep(every_s)


async def _trouble(check: Callable[[], Awaitable[None]], timeout_s: float) -> str | None:
    """Why the worker cannot serve, None when it can."""
    try:
        async with asyncio.timeout(timeout_s):
            await check()
    except Unavailable as error:
        return f"{error} ({error.__cause__})" if error.__cause__ else str(error)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    return None
