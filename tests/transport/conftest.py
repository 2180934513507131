"""A server per test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.transport.harness import World, world


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as running:
        yield running
