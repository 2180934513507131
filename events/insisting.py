"""Going on trying while something that others run is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.following import Report

T = TypeVar("T")

PAUSE_S = 1.0


async def insist(
    attempt: Callable[[], Awaitable[T]],
    away: tuple[type[Exception], ...],
    report: Report,
    ill: str,
    *,
    well: str = "",
    pause_s: float = PAUSE_S,
    **details: object,
) -> T:
    """Try until it succeeds, however long it takes.

    Args:
        away: errors that mean: not now. Others end it.
        report: told ``ill``, with the error and the details, when it fails, and not again until the error is another one; told ``well``,
            if there is anything to tell, when it succeeds after all.
        pause_s: from one attempt to the next.
    """
    failing = ""
    while True:
        try:
            result = await attempt()
        except away as error:
            if str(error) != failing:
                report(ill, error=str(error), **details)
            failing = str(error)
            await asyncio.sleep(pause_s)
        else:
            if failing and well:
                report(well)
            return result
