"""Keeping up with a source that others change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

Report = Callable[..., object]
"""Told of an event by name, with what belongs to it as keyword arguments, as a structlog method is."""


async def follow(what: str, refresh: Callable[[], Awaitable[None]], every_s: float, report: Report) -> NoReturn:
    """Refresh until cancelled; while that fails, go on with what was last read.

    Args:
        what: is followed, for the log.
        report: told when it begins to fail and when it has ended.
    """
    away = False
    while True:
        try:
            await refresh()
        except Exception as error:  # whatever it is, a replica that stops following goes on with what is old for ever
            if not away:
                report(f"{what} cannot be followed", error=str(error.__cause__ or error))
            away = True
        else:
            if away:
                report(f"{what} are followed again")
            away = False
        await asyncio.sleep(every_s)
