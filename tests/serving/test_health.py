from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from serving.health import watch_health
from serving.ports import Unavailable
from tests.serving.waiting import eventually

EVERY_S = 0.02
TIMEOUT_S = 0.05


class Store:
    """Answers, refuses or hangs, as it is told."""

    def __init__(self) -> None:
        self.mood = "answers"

    async def check(self) -> None:
        if self.mood == "refuses":
            raise Unavailable("away")
        if self.mood == "hangs":
            await asyncio.Event().wait()


@asynccontextmanager
async def watched(store: Store) -> AsyncIterator[list[bool]]:
    told: list[bool] = []

    async def publish(healthy: bool) -> None:
        told.append(healthy)

    task = asyncio.create_task(watch_health(store.check, publish, EVERY_S, TIMEOUT_S))
    try:
        yield told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_health_follows_the_store_down_and_up_and_tells_only_of_changes() -> None:
    store = Store()
    async with watched(store) as told:
        for mood, expected in [("answers", [True]), ("refuses", [True, False]), ("answers", [True, False, True])]:
            store.mood = mood
            await eventually(lambda expected=expected: told == expected)  # type: ignore[misc]


async def test_a_store_that_does_not_answer_is_a_store_that_is_away() -> None:
    store = Store()
    store.mood = "hangs"
    async with watched(store) as told:
        await eventually(lambda: told == [False])
