"""What many tests use, one after another, and what becomes of it when one of them fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Renewed(Generic[T]):
    """One for all who leave it whole. Who fails may have left it broken: the next one gets another.

    Args:
        build: makes one, which stands for as long as its block runs.
    """

    def __init__(self, build: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._build = build
        self._whole: T | None = None
        self._standing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._standing.aclose()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[T]:
        """It is whole again once the block has ended, and not when it was left by an error or never left at all."""
        if self._whole is None:
            await self._standing.aclose()
            self._whole = await self._standing.enter_async_context(self._build())
        lent, self._whole = self._whole, None
        yield lent
        self._whole = lent
