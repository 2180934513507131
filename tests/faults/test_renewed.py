from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.renewed import Renewed


async def test_who_fails_is_the_last_to_use_it() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def build() -> AsyncIterator[int]:
        number = len(told)
        told.append(f"{number} is built")
        yield number
        told.append(f"{number} is gone")

    async def use(number: int, error: Exception | None = None) -> None:
        async with site.lent() as lent:
            assert lent == number
            if error:
                raise error

    async with Renewed(build) as site:
        await use(0)
        with pytest.raises(ValueError, match="broken"):
            await use(0, ValueError("broken"))
        await use(2)
        await use(2)
    assert told == ["0 is built", "0 is gone", "2 is built", "2 is gone"]


async def test_who_never_came_back_is_as_one_who_failed() -> None:
    @asynccontextmanager
    async def build() -> AsyncIterator[object]:
        yield object()

    async with Renewed(build) as site:
        stuck = site.lent()
        broken = await stuck.__aenter__()
        async with site.lent() as another:
            assert another is not broken
